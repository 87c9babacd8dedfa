/*
 * to_container.c - containers as CRI shows them.
 */
#include "private.h"

static Runtime__V1__ContainerState state_of(const struct container *c)
{
    switch (c->state) {
    case CONTAINER_CREATED:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
    case CONTAINER_RUNNING:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
    case CONTAINER_EXITED:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
    case CONTAINER_UNKNOWN:
        break;
    }
    return RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN;
}

static Runtime__V1__ContainerMetadata *metadata_of(const struct container *c, struct arena *a)
{
    Runtime__V1__ContainerMetadata *m = ARENA_MESSAGE(a, runtime__v1__container_metadata);

    m->name = c->name;
    m->attempt = c->attempt;
    return m;
}

static Runtime__V1__ImageSpec *image_of(char *name, struct arena *a)
{
    Runtime__V1__ImageSpec *image = ARENA_MESSAGE(a, runtime__v1__image_spec);

    image->image = name;
    return image;
}

Runtime__V1__Container *container_to_item(const struct container *c, struct arena *a)
{
    Runtime__V1__Container *item = ARENA_MESSAGE(a, runtime__v1__container);

    item->id = c->id;
    item->pod_sandbox_id = c->sandbox->id;
    item->metadata = metadata_of(c, a);
    item->image = image_of(c->image, a);
    item->image_ref = c->image_id;
    item->image_id = c->image_id;
    item->state = state_of(c);
    item->created_at = c->created_at;
    item->labels =
        arena_to_map(a, &runtime__v1__container__labels_entry__descriptor, c->labels, c->n_labels);
    item->n_labels = c->n_labels;
    item->annotations = arena_to_map(a, &runtime__v1__container__annotations_entry__descriptor,
                                     c->annotations, c->n_annotations);
    item->n_annotations = c->n_annotations;
    return item;
}

static Runtime__V1__ContainerUser *user_of(const struct container *c, struct arena *a)
{
    Runtime__V1__ContainerUser *user = ARENA_MESSAGE(a, runtime__v1__container_user);
    Runtime__V1__LinuxContainerUser *ids = ARENA_MESSAGE(a, runtime__v1__linux_container_user);

    ids->uid = c->uid;
    ids->gid = c->gid;
    ids->supplemental_groups = arena_alloc(a, c->n_groups * sizeof(*ids->supplemental_groups));
    for (size_t i = 0; i < c->n_groups; i++)
        ids->supplemental_groups[i] = c->groups[i];
    ids->n_supplemental_groups = c->n_groups;
    user->linux = ids;
    return user;
}

/* What only the request knows: mounts, resources, the stop signal's name, how the user names the
 * image. */
static void add_asked(Runtime__V1__ContainerStatus *status, const struct container *c,
                      struct arena *a)
{
    const Runtime__V1__ContainerConfig *config =
        arena_unpack(a, &runtime__v1__container_config__descriptor, c->asked.data, c->asked.len);

    if (!config)
        return;
    status->mounts = config->mounts;
    status->n_mounts = config->n_mounts;
    status->stop_signal = config->stop_signal;
    if (config->image) {
        status->image->user_specified_image = config->image->user_specified_image;
        status->image->runtime_handler = config->image->runtime_handler;
        status->image->annotations = config->image->annotations;
        status->image->n_annotations = config->image->n_annotations;
    }
    if (config->linux && config->linux->resources) {
        Runtime__V1__ContainerResources *resources =
            ARENA_MESSAGE(a, runtime__v1__container_resources);
        resources->linux = config->linux->resources;
        status->resources = resources;
    }
}

/* A mount of an image says which image it became. */
static void resolve_image_mounts(const struct cri *cri, Runtime__V1__ContainerStatus *status,
                                 struct arena *a)
{
    for (size_t i = 0; i < status->n_mounts; i++) {
        Runtime__V1__ImageSpec *image = status->mounts[i]->image;
        if (!image || str_empty(image->image))
            continue;
        const struct image *found = image_find(cri->config.images, image->image);
        if (found)
            image->image_ref = arena_printf(a, "%s", found->id);
    }
}

Runtime__V1__ContainerStatus *container_to_status(const struct cri *cri, const struct container *c,
                                                  struct arena *a)
{
    Runtime__V1__ContainerStatus *status = ARENA_MESSAGE(a, runtime__v1__container_status);
    const struct image *image = image_find(cri->config.images, c->image_id);
    bool tagged = image && image->repo_tags && image->repo_tags[0];

    status->id = c->id;
    status->metadata = metadata_of(c, a);
    status->state = state_of(c);
    status->created_at = c->created_at;
    status->started_at = c->started_at;
    status->finished_at = c->finished_at;
    status->exit_code = c->exit_code;
    status->image = image_of(tagged ? image->repo_tags[0] : c->image, a);
    status->image_ref = c->image_digest;
    status->image_id = c->image_id;
    status->reason = c->reason;
    status->message = c->message;
    status->labels = arena_to_map(a, &runtime__v1__container_status__labels_entry__descriptor,
                                  c->labels, c->n_labels);
    status->n_labels = c->n_labels;
    status->annotations =
        arena_to_map(a, &runtime__v1__container_status__annotations_entry__descriptor,
                     c->annotations, c->n_annotations);
    status->n_annotations = c->n_annotations;
    status->log_path = c->log_path;
    status->user = user_of(c, a);
    if (str_equal(c->sandbox->origin, "cri"))
        add_asked(status, c, a);
    resolve_image_mounts(cri, status, a);
    return status;
}
