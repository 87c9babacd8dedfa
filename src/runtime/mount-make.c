/*
 * New file systems as detached mounts (fsopen(2), fsconfig(2), fsmount(2)): made first, attached
 * later, never by a path.
 */
#include "mount.h"

#include <stdio.h>

#include "sys.h"

/* One option: "key=value" or a flag. */
static int option_set(int context, char *option)
{
    char *value = strchr(option, '=');
    if (value)
        *value++ = '\0';
    return fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option, value, 0) < 0
               ? -errno
               : 0;
}

int fs_mount(const char *type, const char *data, uint64_t attributes, const char **ret_step)
{
    *ret_step = "open";
    _cleanup_close_ int context = sys_result(fsopen(type, FSOPEN_CLOEXEC));
    if (context < 0)
        return context;
    /* What mountinfo shows as the source. */
    (void)fsconfig(context, FSCONFIG_SET_STRING, "source", type, 0);
    *ret_step = "set the options of";
    _cleanup_free_ char *copy = xstrdup(data ? data : "");
    char *rest = copy;
    for (char *option; (option = strsep(&rest, ","));) {
        int r = *option ? option_set(context, option) : 0;
        if (r < 0)
            return r;
    }
    *ret_step = "make";
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    *ret_step = "mount";
    return sys_result(fsmount(context, FSMOUNT_CLOEXEC, (unsigned)attributes));
}

static const char *kind_type(Podd__Shim__Mount__Kind kind)
{
    switch (kind) {
    case PODD__SHIM__MOUNT__KIND__PROC:
        return "proc";
    case PODD__SHIM__MOUNT__KIND__SYSFS:
        return "sysfs";
    case PODD__SHIM__MOUNT__KIND__TMPFS:
        return "tmpfs";
    case PODD__SHIM__MOUNT__KIND__DEVPTS:
        return "devpts";
    case PODD__SHIM__MOUNT__KIND__MQUEUE:
        return "mqueue";
    case PODD__SHIM__MOUNT__KIND__CGROUP:
        return "cgroup2";
    case PODD__SHIM__MOUNT__KIND__BIND:
    case PODD__SHIM__MOUNT__KIND__POD_SHM:
    case _PODD__SHIM__MOUNT__KIND_IS_INT_SIZE:
        break;
    }
    return NULL;
}

int fs_mount_spec(const mount_spec_t *m, struct err *e)
{
    const char *type = kind_type(m->kind);
    if (!type)
        return err_set(e, ERR_INTERNAL, "mount on %s: kind %d has no file system type", m->target,
                       (int)m->kind);
    const char *data = m->data;
    if (m->kind == PODD__SHIM__MOUNT__KIND__DEVPTS && str_empty(data))
        data = "newinstance,ptmxmode=0666,mode=0620";
    const char *step;
    int fd = fs_mount(type, data, m->attributes, &step);
    if (fd < 0) {
        err_errno(e, fd, "mount on %s: %s %s%s%s", m->target, step, type,
                  str_empty(data) ? "" : " with ", data ? data : "");
        if (fd == -EINVAL)
            e->code = ERR_INVALID_ARGUMENT;
        return -1;
    }
    return fd;
}

int mount_attributes_set(int mount, uint64_t attributes, bool recursive)
{
    struct mount_attr attr = {.attr_set = attributes};
    return sys_result(mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
                                    &attr, sizeof(attr)));
}

int mount_propagation_set(int mount, uint64_t propagation)
{
    struct mount_attr attr = {.propagation = propagation};
    return sys_result(mount_setattr(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)));
}
