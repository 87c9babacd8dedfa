/*
 * spec_mounts.c - which mounts a container gets, in which order.
 *
 *   1. podd's own: /proc, /dev and what is in it, /sys, /sys/fs/cgroup; then hosts, hostname and
 *      resolv.conf of the pod. Each is left out when the caller mounts something at the same place
 *      or above it, for it would hide the caller's (or be written into it).
 *   2. the caller's and the image's volumes, parents before children; of two at the same place the
 *      caller's wins over the image's.
 */
#include <linux/mount.h>
#include <stdio.h>

#include "private.h"
#include "spec.h"

static const uint64_t NO_DEV = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;

static mount_spec_t *mount_new(Podd__Shim__Mount__Kind kind, const char *target,
                               uint64_t attributes)
{
    mount_spec_t *m = xmalloc(sizeof(*m));

    podd__shim__mount__init(m);
    m->kind = kind;
    m->target = xstrdup(target);
    m->attributes = attributes;
    return m;
}

static void mount_push(container_spec_t *spec, mount_spec_t *m)
{
    *(mount_spec_t **)array_push(&spec->mounts, &spec->n_mounts, sizeof(m)) = m;
}

/* Is `path` at or below `top`? Both are normalised. */
static bool is_at_or_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    if (str_equal(top, "/"))
        return true;
    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static size_t depth(const char *path)
{
    size_t n = 0;

    for (const char *c = path; *c; c++)
        n += *c == '/' && c[1] != '\0';
    return n;
}

/* ---- The caller's and the image's ----------------------------------------------------------- */

struct wanted {
    mount_spec_t **list;
    size_t n;
};

static void wanted_free(struct wanted *w)
{
    for (size_t i = 0; i < w->n; i++)
        podd__shim__mount__free_unpacked(w->list[i], NULL);
    free(w->list);
}

static void wanted_push(struct wanted *w, mount_spec_t *m)
{
    *(mount_spec_t **)array_push(&w->list, &w->n, sizeof(m)) = m;
}

static bool is_wanted(const struct wanted *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (str_equal(w->list[i]->target, path))
            return true;
    return false;
}

static bool covers(const struct wanted *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (is_at_or_below(path, w->list[i]->target))
            return true;
    return false;
}

static int check_mount(const struct mount_config *m, struct err *e)
{
    if (!str_empty(m->image))
        return 0;
    if (str_empty(m->host_path) || m->host_path[0] != '/')
        return err_set(
            e, ERR_INVALID_ARGUMENT, "mount at %s: its path on the node (\"%s\") must be absolute",
            m->container_path ? m->container_path : "", m->host_path ? m->host_path : "");
    if (m->recursive_readonly && !m->readonly)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mount at %s: recursively read-only, but not read-only", m->container_path);
    if (m->recursive_readonly && m->propagation != MOUNT_PRIVATE)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mount at %s: recursively read-only mounts cannot propagate",
                       m->container_path);
    return 0;
}

static Podd__Shim__Mount__Propagation propagation_of(enum mount_propagation p)
{
    switch (p) {
    case MOUNT_HOST_TO_CONTAINER:
        return PODD__SHIM__MOUNT__PROPAGATION__HOST_TO_CONTAINER;
    case MOUNT_BIDIRECTIONAL:
        return PODD__SHIM__MOUNT__PROPAGATION__BIDIRECTIONAL;
    case MOUNT_PRIVATE:
        break;
    }
    return PODD__SHIM__MOUNT__PROPAGATION__PRIVATE;
}

static void set_maps(mount_spec_t *m, const struct id_range *uids, size_t n_uids,
                     const struct id_range *gids, size_t n_gids)
{
    for (size_t i = 0; i < n_uids + n_gids; i++) {
        const struct id_range *range = i < n_uids ? &uids[i] : &gids[i - n_uids];
        id_map_t *map = xmalloc(sizeof(*map));
        podd__shim__id_map__init(map);
        map->container_id = range->container_id;
        map->host_id = range->host_id;
        map->length = range->length;
        if (i < n_uids)
            *(id_map_t **)array_push(&m->uid_maps, &m->n_uid_maps, sizeof(map)) = map;
        else
            *(id_map_t **)array_push(&m->gid_maps, &m->n_gid_maps, sizeof(map)) = map;
    }
}

/* An image as a volume: the daemon makes the mount, read-only, and hands it over. */
static void want_image(struct plan *plan, struct wanted *w, const struct mount_config *config,
                       mount_spec_t *m_take)
{
    image_mounts_add(&plan->image_mounts, config->image, config->image_sub_path);
    m_take->descriptor = (uint32_t)plan->image_mounts.count;
    m_take->source = xstrdup("");
    m_take->attributes |= MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    wanted_push(w, m_take);
}

static int want_mount(struct plan *plan, struct wanted *w, const struct mount_config *config,
                      struct err *e)
{
    if (check_mount(config, e) < 0)
        return -1;
    _cleanup_free_ char *target = container_path_normalise("mount", config->container_path, e);
    if (!target)
        return -1;
    if (str_equal(target, "/"))
        return err_set(e, ERR_INVALID_ARGUMENT, "mount at /: the root cannot be mounted over");
    uint64_t attributes =
        (config->readonly ? MOUNT_ATTR_RDONLY : 0) | (config->noexec ? MOUNT_ATTR_NOEXEC : 0) |
        (config->nosuid ? MOUNT_ATTR_NOSUID : 0) | (config->nodev ? MOUNT_ATTR_NODEV : 0);
    /* Without a label of its own the container may read what podd may. */
    if (config->selinux_relabel && !str_empty(plan->spec->process->selinux_label))
        return err_set(e, ERR_UNIMPLEMENTED,
                       "mount at %s: podd does not relabel files for SELinux; label them before",
                       target);
    mount_spec_t *m = mount_new(PODD__SHIM__MOUNT__KIND__BIND, target, attributes);
    if (!str_empty(config->image)) {
        want_image(plan, w, config, m);
        return 0;
    }
    m->source = xstrdup(config->host_path);
    m->create_source = config->create_source;
    m->sub_path = xstrdup(config->sub_path ? config->sub_path : "");
    m->file_type = config->file_type;
    m->recursive = config->recursive_readonly;
    m->propagation = propagation_of(config->propagation);
    set_maps(m, config->uid_maps, config->n_uid_maps, config->gid_maps, config->n_gid_maps);
    wanted_push(w, m);
    if (!config->create_source)
        strv_push(&plan->sources, config->host_path);
    return 0;
}

/* What devices bring along; at a place of the caller's own, the caller's counts. */
static int want_device_mounts(struct plan *plan, struct wanted *w, const struct cdi_edits *edits,
                              struct err *e)
{
    const struct cdi_mount *mounts = edits->mounts.items;

    for (size_t i = 0; i < edits->mounts.count; i++) {
        struct mount_config config;
        if (cdi_mount_config(&mounts[i], &config, e) < 0)
            return -1;
        if (!is_wanted(w, config.container_path) && want_mount(plan, w, &config, e) < 0)
            return -1;
    }
    return 0;
}

/* Anonymous volumes: a directory of the container's own, with what the image has at that place. */
static int want_image_volumes(struct plan *plan, struct wanted *w, const struct spec_input *in,
                              struct err *e)
{
    for (size_t i = 0; i < strv_len(in->image->volumes); i++) {
        _cleanup_free_ char *target =
            container_path_normalise("volume of the image", in->image->volumes[i], e);
        if (!target)
            return -1;
        if (str_equal(target, "/") || is_at_or_below(target, "/proc") ||
            is_at_or_below(target, "/sys") || is_at_or_below(target, "/dev"))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "volume of the image at %s: this place is the system's", target);
        if (is_wanted(w, target))
            continue;
        mount_spec_t *m = mount_new(PODD__SHIM__MOUNT__KIND__BIND, target, 0);
        m->source = xasprintf("%s/%zu", in->volumes_dir, strv_len(plan->volumes));
        wanted_push(w, m);
        strv_push(&plan->volumes, target);
    }
    return 0;
}

/* Stable: what was given first stays first among equals. */
static void sort_by_depth(struct wanted *w)
{
    for (size_t i = 1; i < w->n; i++) {
        mount_spec_t *m = w->list[i];
        size_t j = i;
        for (; j > 0 && depth(w->list[j - 1]->target) > depth(m->target); j--)
            w->list[j] = w->list[j - 1];
        w->list[j] = m;
    }
}

/* ---- podd's own ----------------------------------------------------------------------------- */

static void add_own(container_spec_t *spec, const struct wanted *w, mount_spec_t *m,
                    const char *source, const char *data)
{
    if (covers(w, m->target)) {
        podd__shim__mount__free_unpacked(m, NULL);
        return;
    }
    if (source)
        m->source = xstrdup(source);
    if (data)
        m->data = xstrdup(data);
    mount_push(spec, m);
}

static void add_system_mounts(container_spec_t *spec, const struct wanted *w,
                              const struct spec_input *in)
{
    uint64_t sys = NO_DEV | (in->config->security.privileged ? 0 : MOUNT_ATTR_RDONLY);

    add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__PROC, "/proc", NO_DEV), NULL, NULL);
    add_own(spec, w,
            mount_new(PODD__SHIM__MOUNT__KIND__TMPFS, "/dev",
                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME),
            NULL, "mode=755,size=65536k");
    add_own(spec, w,
            mount_new(PODD__SHIM__MOUNT__KIND__DEVPTS, "/dev/pts",
                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
            NULL, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    if (in->host_ipc)
        add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__BIND, "/dev/shm", NO_DEV), "/dev/shm",
                NULL);
    else
        add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__POD_SHM, "/dev/shm", NO_DEV), NULL,
                NULL);
    add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__MQUEUE, "/dev/mqueue", NO_DEV), NULL, NULL);
    if (in->host_network && in->n_uid_maps > 0) {
        /* A user namespace may not mount the sysfs of a network namespace that it does not own. */
        mount_spec_t *m =
            mount_new(PODD__SHIM__MOUNT__KIND__BIND, "/sys", NO_DEV | MOUNT_ATTR_RDONLY);
        m->recursive = true;
        add_own(spec, w, m, "/sys", NULL);
    } else {
        add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__SYSFS, "/sys", sys), NULL, NULL);
    }
    add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__CGROUP, "/sys/fs/cgroup", sys), NULL, NULL);
}

static void add_pod_files(container_spec_t *spec, const struct wanted *w,
                          const struct spec_input *in)
{
    static const char *const names[] = {"hosts", "hostname", "resolv.conf"};
    uint64_t attributes = NO_DEV | (in->config->security.readonly_rootfs ? MOUNT_ATTR_RDONLY : 0);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *target = xasprintf("/etc/%s", names[i]);
        _cleanup_free_ char *source = xasprintf("%s/%s", in->files_dir, names[i]);
        add_own(spec, w, mount_new(PODD__SHIM__MOUNT__KIND__BIND, target, attributes), source,
                NULL);
    }
}

int spec_set_mounts(struct plan *plan, const struct spec_input *in, struct err *e)
{
    const struct container_config *config = in->config;
    __attribute__((cleanup(wanted_free))) struct wanted wanted = {0};

    for (size_t i = 0; i < config->n_mounts; i++)
        if (want_mount(plan, &wanted, &config->mounts[i], e) < 0)
            return -1;
    if (plan->image_mounts.count > SHIM_MOUNTS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%zu images as volumes: at most %d are possible",
                       plan->image_mounts.count, SHIM_MOUNTS_MAX);
    for (size_t i = 0; in->cdi && i < in->cdi->count; i++)
        if (want_device_mounts(plan, &wanted, in->cdi->edits[i], e) < 0)
            return err_wrap(e, "CDI device %s", in->cdi->of[i]);
    if (want_image_volumes(plan, &wanted, in, e) < 0)
        return -1;
    sort_by_depth(&wanted);
    add_system_mounts(plan->spec, &wanted, in);
    add_pod_files(plan->spec, &wanted, in);
    for (size_t i = 0; i < wanted.n; i++)
        mount_push(plan->spec, wanted.list[i]);
    wanted.n = 0;
    return 0;
}
