/*
 * image.c - ImageService.
 */
#include "private.h"

/* ---- Pulling
 * --------------------------------------------------------------------------------------- */

struct pull_call {
    struct rpc_call *call;
    struct image_pull *pull;
};

static void on_pulled(void *arg, const char *image_id, const struct err *e)
{
    struct pull_call *p = arg;
    Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

    rpc_on_cancel(p->call, NULL, NULL);
    if (e->code != ERR_OK) {
        rpc_fail(p->call, e);
    } else {
        response.image_ref = (char *)image_id;
        rpc_reply(p->call, &response.base);
    }
    free(p);
}

static void on_cancel(void *arg)
{
    struct pull_call *p = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    image_pull_cancel(p->pull);
    err_set(&e, ERR_CANCELLED, "the client has gone");
    rpc_fail(p->call, &e);
    free(p);
}

static const struct image_auth *auth_from(const Runtime__V1__AuthConfig *auth, struct arena *a)
{
    if (!auth)
        return NULL;
    struct image_auth *ret = arena_alloc(a, sizeof(*ret));
    *ret = (struct image_auth){
        .username = auth->username,
        .password = auth->password,
        .encoded = auth->auth,
        .identity_token = auth->identity_token,
        .registry_token = auth->registry_token,
        .server_address = auth->server_address,
    };
    return ret;
}

/* The reference that a request names, or NULL and the call is answered. */
static const char *require_image(struct rpc_call *call, const Runtime__V1__ImageSpec *image)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (image && !str_empty(image->image))
        return image->image;
    err_set(&e, ERR_INVALID_ARGUMENT, "image.image is empty");
    rpc_fail(call, &e);
    return NULL;
}

void cri_pull_image(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    static const struct image_pull_events events = {.on_done = on_pulled};
    const struct cri *c = ctx;
    const Runtime__V1__PullImageRequest *request = (const void *)message;
    _cleanup_arena_ struct arena a = {0};

    if (!cri_accept(c, call))
        return;
    const char *reference = require_image(call, request->image);
    if (!reference)
        return;
    struct pull_call *p = xnew(struct pull_call);
    p->call = call;
    rpc_on_cancel(call, on_cancel, p);
    p->pull =
        image_pull_start(c->config.images, reference, auth_from(request->auth, &a), &events, p);
}

/* ---- Looking
 * ------------------------------------------------------------------------------------------ */

/* CRI shows the user by number or by name, whichever the image uses; without its group. */
static void add_user(Runtime__V1__Image *item, const char *user, struct arena *a)
{
    if (str_empty(user))
        return;
    char *name = arena_printf(a, "%.*s", (int)strcspn(user, ":"), user);
    uint64_t uid;
    if (parse_uint(name, UINT32_MAX, &uid) == 0) {
        item->uid = ARENA_MESSAGE(a, runtime__v1__int64_value);
        item->uid->value = (int64_t)uid;
    } else {
        item->username = name;
    }
}

Runtime__V1__Image *image_to_item(const struct image *image, struct arena *a)
{
    Runtime__V1__Image *item = ARENA_MESSAGE(a, runtime__v1__image);

    item->id = image->id;
    item->repo_tags = image->repo_tags;
    item->n_repo_tags = strv_len(image->repo_tags);
    item->repo_digests = image->repo_digests;
    item->n_repo_digests = strv_len(image->repo_digests);
    item->size = image->size;
    item->pinned = image->pinned;
    add_user(item, image->config.user, a);
    return item;
}

struct image_list {
    const struct image *only; /* the one that the filter names */
    bool filtered;
    struct arena *arena;
    Runtime__V1__Image **items;
    size_t n_items;
};

static void add_item(void *arg, const struct image *image)
{
    struct image_list *l = arg;

    if (!l->filtered || image == l->only)
        *(Runtime__V1__Image **)array_push(&l->items, &l->n_items, sizeof(*l->items)) =
            image_to_item(image, l->arena);
}

static void list_images(const struct cri *c, const Runtime__V1__ImageFilter *filter,
                        struct image_list *list)
{
    const Runtime__V1__ImageSpec *wanted = filter ? filter->image : NULL;

    if (wanted && !str_empty(wanted->image)) {
        list->filtered = true;
        list->only = image_find(c->config.images, wanted->image);
    }
    image_for_each(c->config.images, add_item, list);
}

void cri_list_images(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListImagesRequest *request = (const void *)message;
    Runtime__V1__ListImagesResponse response = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    struct image_list list = {.arena = &a};

    if (!cri_accept(c, call))
        return;
    list_images(c, request->filter, &list);
    response.images = list.items;
    response.n_images = list.n_items;
    rpc_reply(call, &response.base);
    free(list.items);
}

/* Images are few: they fit one message. */
void cri_stream_images(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StreamImagesRequest *request = (const void *)message;
    Runtime__V1__StreamImagesResponse response = RUNTIME__V1__STREAM_IMAGES_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    struct image_list list = {.arena = &a};

    if (!cri_accept(c, call))
        return;
    list_images(c, request->filter, &list);
    response.images = list.items;
    response.n_images = list.n_items;
    if (list.n_items)
        rpc_send(call, &response.base);
    rpc_finish(call);
    free(list.items);
}

void cri_image_status(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ImageStatusRequest *request = (const void *)message;
    Runtime__V1__ImageStatusResponse response = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    if (!cri_accept(c, call))
        return;
    const char *reference = require_image(call, request->image);
    if (!reference)
        return;
    const struct image *image = image_find(c->config.images, reference);
    if (image) {
        response.image = image_to_item(image, &a);
        if (request->verbose)
            image_add_info(image, &response, &a);
    }
    rpc_reply(call, &response.base);
}

void cri_remove_image(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__RemoveImageRequest *request = (const void *)message;
    Runtime__V1__RemoveImageResponse response = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call))
        return;
    const char *reference = require_image(call, request->image);
    if (!reference)
        return;
    if (image_remove(c->config.images, reference, &e) < 0)
        rpc_fail(call, &e);
    else
        rpc_reply(call, &response.base);
}

/* ---- Space
 * ------------------------------------------------------------------------------------------------
 */

void cri_image_fs_info(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    Runtime__V1__ImageFsInfoResponse response = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
    Runtime__V1__FilesystemUsage usage = RUNTIME__V1__FILESYSTEM_USAGE__INIT;
    Runtime__V1__FilesystemIdentifier id = RUNTIME__V1__FILESYSTEM_IDENTIFIER__INIT;
    Runtime__V1__UInt64Value bytes = RUNTIME__V1__UINT64_VALUE__INIT;
    Runtime__V1__UInt64Value inodes = RUNTIME__V1__UINT64_VALUE__INIT;
    Runtime__V1__FilesystemUsage *list[] = {&usage};
    struct image_fs_usage used;

    image_fs_usage(c->config.images, &used);
    id.mountpoint = used.mountpoint;
    bytes.value = used.used_bytes;
    inodes.value = used.inodes_used;
    usage.timestamp = time_now_ns();
    usage.fs_id = &id;
    usage.used_bytes = &bytes;
    usage.inodes_used = &inodes;
    /* Images and writable layers are on one file system, so both lists name it. */
    response.image_filesystems = response.container_filesystems = list;
    response.n_image_filesystems = response.n_container_filesystems = 1;
    rpc_reply(call, &response.base);
}
