/*
 * Mount sources: everything a container's mounts show that exists before the container does.
 *
 * A bind mount is cloned from the node's mount namespace as a detached mount when the container is
 * created, so that what is wrong with it is an error of that call, and so that the start names no
 * host path at all. Its attributes, propagation and id mapping are set while nobody can see it.
 *
 * With a user namespace the shim also makes here the file systems that the mapped root could not:
 * those that belong to a namespace of the node, and the /dev with its device nodes.
 */
#include "mount.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "child.h"
#include "sys.h"
#include "user-ns.h"

void mount_sources_close(struct mount_sources *m)
{
    for (size_t i = 0; i < m->count; i++)
        fd_close(take_fd(&m->mounts[i]));
    for (size_t i = 0; i < m->n_cgroups; i++)
        fd_close(m->cgroups[i]);
    m->n_cgroups = 0;
}

void mount_sources_free(struct mount_sources *m)
{
    if (!m)
        return;
    mount_sources_close(m);
    free(m->cgroups);
    free(m->mounts);
    free(m->is_dir);
    free(m);
}

static void sources_freep(struct mount_sources **m)
{
    mount_sources_free(*m);
}

/* ---- Propagation ----------------------------------------------------------------------------- */

/* Does the mount that `path` is on have the optional field ("shared:", "master:") in mountinfo? */
static int mount_has_field(const char *path, const char *field, bool *ret)
{
    struct statx stx;
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &stx) < 0)
        return -errno;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -errno;
    char *line = NULL;
    size_t cap = 0;
    *ret = false;
    while (getline(&line, &cap, f) >= 0) {
        char *tail = strstr(line, " - "), *found;
        if (tail && strtoull(line, NULL, 10) == stx.stx_mnt_id) {
            *tail = '\0';
            found = strstr(line, field);
            *ret = found && found > line && found[-1] == ' ';
        }
    }
    free(line);
    fclose(f);
    return 0;
}

static int propagation_check(const mount_spec_t *m, struct err *e)
{
    bool shared = true, slave = false;
    if (m->propagation == PODD__SHIM__MOUNT__PROPAGATION__PRIVATE)
        return 0;
    int r = mount_has_field(m->source, "shared:", &shared);
    if (r == 0)
        r = mount_has_field(m->source, "master:", &slave);
    if (r < 0)
        return err_errno(e, r, "look up the propagation of mount source %s", m->source);
    if (m->propagation == PODD__SHIM__MOUNT__PROPAGATION__BIDIRECTIONAL && !shared)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mount source %s is not on a shared mount, which bidirectional propagation "
                       "needs: mount --make-rshared its mount point on the node",
                       m->source);
    if (!shared && !slave)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mount source %s is not on a shared or slave mount, which host-to-container "
                       "propagation needs: mount --make-rshared its mount point on the node",
                       m->source);
    return 0;
}

static uint64_t propagation_flag(const mount_spec_t *m)
{
    switch (m->propagation) {
    case PODD__SHIM__MOUNT__PROPAGATION__HOST_TO_CONTAINER:
        return MS_SLAVE;
    case PODD__SHIM__MOUNT__PROPAGATION__BIDIRECTIONAL:
        return MS_SHARED;
    case PODD__SHIM__MOUNT__PROPAGATION__PRIVATE:
    case _PODD__SHIM__MOUNT__PROPAGATION_IS_INT_SIZE:
        break;
    }
    return MS_PRIVATE;
}

/* ---- Binds ----------------------------------------------------------------------------------- */

static bool maps_equal(id_map_t *const *a, size_t n, id_map_t *const *b, size_t m)
{
    for (size_t i = 0; n == m && i < n; i++)
        if (a[i]->container_id != b[i]->container_id || a[i]->host_id != b[i]->host_id ||
            a[i]->length != b[i]->length)
            return false;
    return n == m;
}

/* The maps are nearly always the pod's: then its own user namespace stands for them. */
static int user_ns_of(const mount_spec_t *m, const container_spec_t *spec,
                      const struct pod_namespaces *ns, struct err *e)
{
    int fd = -1;
    if (ns->user_ns < 0 ||
        !maps_equal(m->uid_maps, m->n_uid_maps, spec->uid_maps, spec->n_uid_maps) ||
        !maps_equal(m->gid_maps, m->n_gid_maps, spec->gid_maps, spec->n_gid_maps))
        return user_ns_from_maps(m->uid_maps, m->n_uid_maps, m->gid_maps, m->n_gid_maps, &fd, e) < 0
                   ? -1
                   : fd;
    fd = fd_dup(ns->user_ns);
    return fd < 0 ? err_errno(e, fd, "the pod's user namespace") : fd;
}

static int idmap_set(int mount, const mount_spec_t *m, const container_spec_t *spec,
                     const struct pod_namespaces *ns, struct err *e)
{
    if (!m->n_uid_maps && !m->n_gid_maps)
        return 0;
    _cleanup_close_ int user_ns = user_ns_of(m, spec, ns, e);
    if (user_ns < 0)
        return -1;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_ns};
    if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return err_errno(e, errno,
                         "map the ids of mount source %s: does its file system support it?",
                         m->source);
    return 0;
}

static const char *type_name(mode_t type)
{
    switch (type) {
    case S_IFDIR:
        return "directory";
    case S_IFREG:
        return "regular file";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    default:
        return "file of the wanted type";
    }
}

/* Opens what is mounted, checked on the descriptor, so that nobody can put something else in its
 * place between the check and the mount. */
static int open_checked(const mount_spec_t *m, const char *source, struct err *e)
{
    _cleanup_close_ int fd = open(source, O_PATH | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (m->file_type && (st.st_mode & S_IFMT) != m->file_type)
        return err_set(e, ERR_FAILED_PRECONDITION, "mount source %s is no %s", source,
                       type_name(m->file_type));
    if (str_empty(m->sub_path))
        return take_fd(&fd);
    return open_in_root(fd, m->sub_path, O_PATH, 0);
}

/* A detached clone of what is mounted. fd, or -errno, or -1 with *e set. */
static int clone_source(const mount_spec_t *m, const char *source, struct err *e)
{
    const unsigned flags = OPEN_TREE_CLONE | AT_RECURSIVE;

    if (str_empty(m->sub_path) && !m->file_type)
        return sys_open_tree(AT_FDCWD, source, flags); /* may be an automount, which is made then */
    _cleanup_close_ int fd = open_checked(m, source, e);
    return fd < 0 ? fd : sys_open_tree(fd, "", flags | AT_EMPTY_PATH);
}

static int clone_path(const mount_spec_t *m, const char *source, struct err *e)
{
    int fd = clone_source(m, source, e);
    if (fd == -ENOENT && m->create_source) {
        if (dir_ensure(source, 0755, e) < 0)
            return err_wrap(e, "mount source");
        fd = clone_source(m, source, e);
    }
    if (fd < 0 && e->code == ERR_OK) {
        bool part = !str_empty(m->sub_path);
        err_errno(e, fd, "mount source %s%s%s", source, part ? ", sub path " : "",
                  part ? m->sub_path : "");
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
            e->code = ERR_INVALID_ARGUMENT;
    }
    return fd < 0 ? -1 : fd;
}

static int bind_open(const mount_spec_t *m, const char *source, struct err *e)
{
    if (str_empty(source) || source[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "mount on %s: source \"%s\" is not absolute",
                       m->target, source);
    if (m->propagation != PODD__SHIM__MOUNT__PROPAGATION__PRIVATE && propagation_check(m, e) < 0)
        return -1;
    _cleanup_close_ int mount = clone_path(m, source, e);
    if (mount < 0)
        return -1;
    /* A clone of a shared mount is shared: what a container mounts must not show on the node. */
    int r = mount_propagation_set(mount, propagation_flag(m));
    if (r == 0 && m->attributes)
        r = mount_attributes_set(mount, m->attributes, m->recursive);
    if (r < 0)
        return err_errno(e, r, "set the attributes of mount source %s", source);
    return take_fd(&mount);
}

/* ---- All ------------------------------------------------------------------------------------- */

static bool from_node(const mount_spec_t *m, const struct pod_namespaces *ns)
{
    return (m->kind == PODD__SHIM__MOUNT__KIND__BIND && !m->descriptor) ||
           (m->kind == PODD__SHIM__MOUNT__KIND__POD_SHM && ns->shm < 0);
}

/* What the root of a user namespace may not make, or not so that it works. */
static bool needs_shim(const mount_spec_t *m)
{
    return m->kind == PODD__SHIM__MOUNT__KIND__SYSFS ||
           m->kind == PODD__SHIM__MOUNT__KIND__MQUEUE ||
           (m->kind == PODD__SHIM__MOUNT__KIND__TMPFS && str_equal(m->target, "/dev"));
}

static int shm_clone(const struct pod_namespaces *ns, struct err *e)
{
    int fd = sys_open_tree(ns->shm, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    return fd < 0 ? err_errno(e, fd, "clone the pod's /dev/shm") : fd;
}

static int nodes_open(const container_spec_t *spec, const struct pod_namespaces *ns,
                      struct mount_sources *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        const mount_spec_t *m = spec->mounts[i];
        if (!from_node(m, ns))
            continue;
        bool shm = m->kind == PODD__SHIM__MOUNT__KIND__POD_SHM;
        s->mounts[i] = bind_open(m, shm ? "/dev/shm" : m->source, e);
        struct stat st;
        if (s->mounts[i] < 0 || idmap_set(s->mounts[i], m, spec, ns, e) < 0)
            return -1;
        if (fstat(s->mounts[i], &st) < 0)
            return err_errno(e, errno, "mount source %s", m->source);
        s->is_dir[i] = S_ISDIR(st.st_mode);
    }
    return 0;
}

static int given_take(const mount_spec_t *m, const int *given, size_t n_given, bool *ret_is_dir,
                      struct err *e)
{
    struct stat st;
    if (m->descriptor > n_given)
        return err_set(e, ERR_INVALID_ARGUMENT, "mount on %s: of descriptor %u of %zu", m->target,
                       m->descriptor, n_given);
    _cleanup_close_ int mount = fd_dup(given[m->descriptor - 1]);
    if (mount < 0 || fstat(mount, &st) < 0)
        return err_errno(e, mount < 0 ? mount : errno, "mount on %s", m->target);
    *ret_is_dir = S_ISDIR(st.st_mode);
    int r = m->attributes ? mount_attributes_set(mount, m->attributes, m->recursive) : 0;
    return r < 0 ? err_errno(e, r, "set the attributes of the mount on %s", m->target)
                 : take_fd(&mount);
}

static int given_open(const container_spec_t *spec, const int *given, size_t n_given,
                      struct mount_sources *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        const mount_spec_t *m = spec->mounts[i];
        if (m->kind != PODD__SHIM__MOUNT__KIND__BIND || !m->descriptor)
            continue;
        s->mounts[i] = given_take(m, given, n_given, &s->is_dir[i], e);
        if (s->mounts[i] < 0)
            return -1;
    }
    return 0;
}

static int own_open(const container_spec_t *spec, const struct pod_namespaces *ns,
                    struct mount_sources *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        const mount_spec_t *m = spec->mounts[i];
        if (from_node(m, ns) || m->kind == PODD__SHIM__MOUNT__KIND__BIND)
            continue;
        s->is_dir[i] = true;
        if (m->kind == PODD__SHIM__MOUNT__KIND__POD_SHM)
            s->mounts[i] = shm_clone(ns, e);
        else if (ns->user_ns < 0 || !needs_shim(m))
            continue;
        else if (m->kind == PODD__SHIM__MOUNT__KIND__TMPFS)
            s->mounts[i] = dev_make(spec, m, e);
        else
            s->mounts[i] = fs_mount_spec(m, e);
        if (s->mounts[i] < 0)
            return -1;
    }
    return 0;
}

int mount_sources_open(const container_spec_t *spec, const struct pod_namespaces *ns,
                       const int *given, size_t n_given, struct mount_sources **ret, struct err *e)
{
    CLEANUP(sources_freep) struct mount_sources *s = xnew(struct mount_sources);
    s->count = spec->n_mounts;
    s->mounts = xcalloc(s->count + 1, sizeof(*s->mounts));
    s->is_dir = xcalloc(s->count + 1, sizeof(*s->is_dir));
    bool visit_node = false;
    for (size_t i = 0; i < s->count; i++) {
        s->mounts[i] = -1;
        visit_node |= from_node(spec->mounts[i], ns);
    }
    int r = 0;
    if (visit_node) {
        struct ns_visit visit;
        if (ns_visit_begin(ns->host_mntns, &visit, e) < 0)
            return -1;
        r = nodes_open(spec, ns, s, e);
        ns_visit_end(&visit);
    }
    if (r < 0 || given_open(spec, given, n_given, s, e) < 0 || own_open(spec, ns, s, e) < 0)
        return -1;
    *ret = take_ptr(s);
    return 0;
}

/* ---- The container's cgroups ----------------------------------------------------------------- */

/* On the node. By path: what cg holds open may be of another namespace's mounts. */
static int cgroup_dirs_clone(struct mount_sources *m, const struct cgroup *cg, struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    m->cgroups = xcalloc(cg->n_v1 + 1, sizeof(*m->cgroups));
    for (size_t i = 0; i < cg->n_v1; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", l->v1[i].mount_point, cg->path);
        int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
        if (fd < 0)
            return err_errno(e, fd, "clone the mount of cgroup /%s", cg->path);
        m->cgroups[m->n_cgroups++] = fd;
        int r = mount_propagation_set(fd, MS_PRIVATE);
        if (r < 0)
            return err_errno(e, r, "set the attributes of the mount of cgroup /%s", cg->path);
    }
    return 0;
}

int mount_sources_add_cgroup(struct mount_sources *m, const container_spec_t *spec,
                             const struct pod_namespaces *ns, const struct cgroup *cg,
                             struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    for (size_t i = 0; i < spec->n_mounts; i++) {
        if (spec->mounts[i]->kind != PODD__SHIM__MOUNT__KIND__CGROUP || m->mounts[i] >= 0)
            continue;
        if (l->mode == CGROUP_V2 && spec->cgroup_namespace)
            return 0; /* made by the child, in its cgroup namespace */
        struct ns_visit visit;
        if (ns_visit_begin(ns->host_mntns, &visit, e) < 0)
            return -1;
        int r = 0;
        if (l->mode ==
            CGROUP_V2) /* the node's mount, not a new one: that would reset its options */
            r = m->mounts[i] = bind_open(spec->mounts[i], l->v2_mount_point, e);
        else if (!m->cgroups)
            r = cgroup_dirs_clone(m, cg, e);
        ns_visit_end(&visit);
        return r < 0 ? -1 : 0;
    }
    return 0;
}
