/*
 * info.c - the `info` map of verbose answers: one key "info" with a JSON object, for people and
 * node tools that inspect containers.
 *
 */
#include "private.h"

#include <jansson.h>

/* The stored request as JSON; an empty object for what CRI did not ask. */
static json_t *asked_json(const char *origin, const struct bytes *asked,
                          const ProtobufCMessageDescriptor *descriptor)
{
    _cleanup_arena_ struct arena a = {0};
    const ProtobufCMessage *message =
        str_equal(origin, "cri") ? arena_unpack(&a, descriptor, asked->data, asked->len) : NULL;

    return message ? message_to_json(message) : json_object();
}

/* Packs one map entry "info" holding the object, which is consumed. */
static void *info_map(struct arena *a, const ProtobufCMessageDescriptor *entry, json_t *object_take)
{
    char *text = json_dumps(object_take, JSON_COMPACT);
    const struct key_value info = {"info", arena_printf(a, "%s", text ? text : "{}")};

    free(text);
    json_decref(object_take);
    return arena_to_map(a, entry, &info, 1);
}

void container_add_info(const struct container *c, Runtime__V1__ContainerStatusResponse *response,
                        struct arena *a)
{
    json_t *info = json_object();

    json_object_set_new(info, "sandboxID", json_string(c->sandbox->id));
    json_object_set_new(info, "pid", json_integer(c->pid));
    json_object_set_new(info, "cgroupPath", json_string(c->cgroup_path));
    json_object_set_new(info, "runtimeType", json_string("podd"));
    json_object_set_new(
        info, "config",
        asked_json(c->sandbox->origin, &c->asked, &runtime__v1__container_config__descriptor));
    response->info =
        info_map(a, &runtime__v1__container_status_response__info_entry__descriptor, info);
    response->n_info = 1;
}

void sandbox_add_info(const struct sandbox *s, Runtime__V1__PodSandboxStatusResponse *response,
                      struct arena *a)
{
    json_t *info = json_object();

    json_object_set_new(info, "pid", json_integer(sandbox_pid(s)));
    json_object_set_new(info, "cgroupParent", json_string(s->cgroup_parent));
    json_object_set_new(info, "runtimeType", json_string("podd"));
    json_object_set_new(
        info, "config",
        asked_json(s->origin, &s->asked, &runtime__v1__pod_sandbox_config__descriptor));
    response->info =
        info_map(a, &runtime__v1__pod_sandbox_status_response__info_entry__descriptor, info);
    response->n_info = 1;
}

static json_t *strv_json(char *const *v)
{
    json_t *list = json_array();

    for (size_t i = 0; v && v[i]; i++)
        json_array_append_new(list, json_string(v[i]));
    return list;
}

void image_add_info(const struct image *image, Runtime__V1__ImageStatusResponse *response,
                    struct arena *a)
{
    json_t *config = json_object();
    json_t *info = json_object();
    size_t layers = strv_len(image->layers);

    json_object_set_new(config, "Entrypoint", strv_json(image->config.entrypoint));
    json_object_set_new(config, "Cmd", strv_json(image->config.cmd));
    json_object_set_new(config, "Env", strv_json(image->config.env));
    json_object_set_new(config, "User", json_string(image->config.user ? image->config.user : ""));
    json_object_set_new(config, "WorkingDir",
                        json_string(image->config.working_dir ? image->config.working_dir : ""));
    json_object_set_new(info, "chainID", json_string(layers ? image->layers[layers - 1] : ""));
    json_object_set_new(info, "imageSpec", json_pack("{s:o}", "config", config));
    response->info = info_map(a, &runtime__v1__image_status_response__info_entry__descriptor, info);
    response->n_info = 1;
}

void status_add_info(const struct cri *c, Runtime__V1__StatusResponse *response, struct arena *a)
{
    json_t *config = json_object();

    json_object_set_new(config, "root", json_string(c->root));
    json_object_set_new(config, "stateDir", json_string(c->state));
    json_object_set_new(config, "socket", json_string(c->socket));
    json_object_set_new(config, "version", json_string(PODD_VERSION));
    json_object_set_new(config, "cgroupDriver",
                        json_string(c->config.systemd_cgroups ? "systemd" : "cgroupfs"));
    json_object_set_new(config, "apparmor", json_boolean(c->features.apparmor));
    json_object_set_new(config, "apparmorDefaultProfile", /* null: none */
                        json_string(pods_apparmor_default(c->config.pods)) ?: json_null());
    json_object_set_new(config, "selinux", json_boolean(c->features.selinux));
    char *text = json_dumps(config, JSON_COMPACT);
    const struct key_value info = {"config", arena_printf(a, "%s", text ? text : "{}")};
    free(text);
    json_decref(config);
    response->info =
        arena_to_map(a, &runtime__v1__status_response__info_entry__descriptor, &info, 1);
    response->n_info = 1;
}
