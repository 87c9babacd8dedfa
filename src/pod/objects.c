/*
 * objects.c - making and freeing the objects in memory. Nothing here touches the registry, the disk
 * or the kernel.
 */
#include "private.h"

char *str_or_empty(const char *s)
{
    return xstrdup(s ? s : "");
}

struct bytes bytes_dup(const struct bytes *b)
{
    struct bytes copy = {.data = xmemdup(b->data, b->len), .len = b->len};

    return copy;
}

struct key_value *key_values_dup(const struct key_value *kvs, size_t n)
{
    struct key_value *copy = xcalloc(n ? n : 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++) {
        copy[i].key = str_or_empty(kvs[i].key);
        copy[i].value = str_or_empty(kvs[i].value);
    }
    return copy;
}

void key_values_free(struct key_value *kvs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(kvs[i].key);
        free(kvs[i].value);
    }
    free(kvs);
}

id_map_t **id_maps_new(const struct id_range *ranges, size_t n)
{
    id_map_t **maps = xcalloc(n ? n : 1, sizeof(*maps));

    for (size_t i = 0; i < n; i++) {
        maps[i] = xmalloc(sizeof(*maps[i]));
        podd__shim__id_map__init(maps[i]);
        maps[i]->container_id = ranges[i].container_id;
        maps[i]->host_id = ranges[i].host_id;
        maps[i]->length = ranges[i].length;
    }
    return maps;
}

struct sandbox *sandbox_new(const char *id)
{
    struct sandbox *s = xnew(struct sandbox);

    s->id = xstrdup(id);
    s->state = SANDBOX_NOTREADY;
    list_init(&s->containers);
    s->priv = xnew(struct sandbox_private);
    s->priv->self = s;
    list_init(&s->priv->all);
    list_init(&s->priv->ending);
    list_init(&s->priv->stop_waiters);
    list_init(&s->priv->remove_waiters);
    return s;
}

void sandbox_object_free(struct sandbox *s)
{
    if (!s)
        return;
    timer_free(s->priv->ending_timer);
    shim_free(s->priv->shim);
    free(s->priv->boot_id);
    free(s->priv->uid_maps);
    free(s->priv->gid_maps);
    free(s->priv);
    free(s->id);
    free(s->name);
    free(s->namespace_);
    free(s->uid);
    key_values_free(s->labels, s->n_labels);
    key_values_free(s->annotations, s->n_annotations);
    free(s->runtime_handler);
    free(s->log_directory);
    free(s->cgroup_parent);
    free(s->hostname);
    free(s->origin);
    bytes_free(&s->asked);
    free(s);
}

struct container *container_new(const char *id)
{
    struct container *c = xnew(struct container);

    c->id = xstrdup(id);
    c->reason = xstrdup("");
    c->message = xstrdup("");
    c->state = CONTAINER_CREATED;
    list_init(&c->siblings);
    c->priv = xnew(struct container_private);
    c->priv->self = c;
    list_init(&c->priv->all);
    list_init(&c->priv->after_start);
    list_init(&c->priv->stop_waiters);
    list_init(&c->priv->remove_waiters);
    return c;
}

static void container_private_free(struct container_private *priv)
{
    if (priv->process)
        podd__shim__process_spec__free_unpacked(priv->process, NULL);
    if (priv->early_exit)
        podd__shim__exit_info__free_unpacked(priv->early_exit, NULL);
    timer_free(priv->stop_timer);
    free(priv->pid_target);
    strv_free(priv->volume_images);
    free(priv);
}

void container_hold_images(struct container *c)
{
    struct image_store *images = c->sandbox->priv->pods->images;

    image_hold(images, c->image_id);
    for (size_t i = 0; i < strv_len(c->priv->volume_images); i++)
        image_hold(images, c->priv->volume_images[i]);
    c->priv->images_held = true;
}

void container_release_images(struct container *c)
{
    struct image_store *images = c->sandbox->priv->pods->images;

    if (!c->priv->images_held)
        return;
    c->priv->images_held = false;
    image_release(images, c->image_id);
    for (size_t i = 0; i < strv_len(c->priv->volume_images); i++)
        image_release(images, c->priv->volume_images[i]);
}

void container_object_free(struct container *c)
{
    if (!c)
        return;
    container_private_free(c->priv);
    free(c->id);
    free(c->name);
    free(c->reason);
    free(c->message);
    free(c->image);
    free(c->image_id);
    free(c->image_digest);
    free(c->log_path);
    free(c->cgroup_path);
    key_values_free(c->labels, c->n_labels);
    key_values_free(c->annotations, c->n_annotations);
    free(c->groups);
    free((void *)c->env); /* its strings are the process spec's */
    bytes_free(&c->asked);
    free(c);
}

void container_set_env(struct container *c)
{
    const process_spec_t *process = c->priv->process;
    char **env = xcalloc(process->n_env + 1, sizeof(*env));

    for (size_t i = 0; i < process->n_env; i++)
        env[i] = process->env[i];
    free((void *)c->env);
    c->env = env;
}
