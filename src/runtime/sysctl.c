/*
 * Kernel settings of a pod. Only those that belong to a namespace the pod has for itself may be
 * set; everything else would change the node.
 *
 * A key is written with dots or with slashes, as for sysctl(8): the first separator tells which,
 * and the other character is then part of a name (net.ipv4.conf.eth0/100.mtu,
 * net/ipv4/conf/eth0.100/mtu). The value goes to one file as it stands.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

#include "sys.h"

enum { KEY_MAX = 256, VALUE_MAX = 4096 };

static const char *const ipc_keys[] = {
    "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
    "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced",
};

/* The path below /proc/sys, or NULL when the key is malformed. */
static char *key_path(const char *key)
{
    size_t len = strlen(key);
    if (!len || len > KEY_MAX)
        return NULL;
    char separator = key[strcspn(key, "./")];
    char *path = xstrdup(key);
    for (char *p = path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '_' || *p == '-' || *p == '@' || *p == ':';
        if (separator == '.' && (*p == '.' || *p == '/'))
            *p = *p == '.' ? '/' : '.';
        else if (!plain && *p != '.' && *p != '/')
            goto malformed;
    }
    /* No empty names, none of dots alone. */
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || strspn(p, ".") >= n)
            goto malformed;
        p += n;
        if (!*p)
            return path;
    }
malformed:
    free(path);
    return NULL;
}

static bool is_ipc_key(const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(ipc_keys); i++)
        if (str_equal(path, ipc_keys[i]))
            return true;
    return str_starts_with(path, "fs/mqueue/");
}

static int sysctl_check(const sysctl_t *s, const Podd__Shim__SpawnRequest *request, struct err *e)
{
    _cleanup_free_ char *path = key_path(s->key);
    if (!path)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl \"%s\" is not a name of a kernel setting",
                       s->key);
    if (strlen(s->value) > VALUE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: the value is too long", s->key);
    const char *shared = NULL;
    if (str_starts_with(path, "net/"))
        shared = request->host_network ? "network" : NULL;
    else if (is_ipc_key(path))
        shared = request->host_ipc ? "IPC" : NULL;
    else if (str_equal(path, "kernel/domainname"))
        shared = request->host_uts ? "UTS" : NULL;
    else
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "sysctl %s belongs to the whole node: it cannot be set for a pod", s->key);
    if (shared)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "sysctl %s: the pod shares the node's %s namespace, so it would change the "
                       "node",
                       s->key, shared);
    return 0;
}

int sysctls_check(const Podd__Shim__SpawnRequest *request, struct err *e)
{
    for (size_t i = 0; i < request->n_sysctls; i++)
        if (sysctl_check(request->sysctls[i], request, e) < 0)
            return -1;
    return 0;
}

static int sysctl_write(int proc_sys, const sysctl_t *s, struct err *e)
{
    _cleanup_free_ char *path = key_path(s->key);
    _cleanup_close_ int fd = sys_openat2(proc_sys, path, O_WRONLY | O_NOFOLLOW, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd == -ENOENT)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: this kernel has no such setting",
                       s->key);
    if (fd < 0)
        return err_errno(e, fd, "sysctl %s", s->key);
    ssize_t n = write(fd, s->value, strlen(s->value));
    if (n >= 0)
        return 0;
    err_errno(e, errno, "set sysctl %s to \"%s\"", s->key, s->value);
    if (errno == EINVAL || errno == ERANGE)
        e->code = ERR_INVALID_ARGUMENT;
    return -1;
}

/* Settings of an IPC namespace obey only the root of its user namespace, whoever else may come. */
static int sysctl_write_for(int proc_sys, const sysctl_t *s,
                            const Podd__Shim__SpawnRequest *request, struct err *e)
{
    _cleanup_err_ struct err denied = ERR_INIT;
    int r = sysctl_write(proc_sys, s, &denied);
    if (r == 0 || denied.code != ERR_PERMISSION_DENIED || !request->n_uid_maps)
        return r < 0 ? err_move(e, &denied) : 0;
    if (seteuid(request->uid_maps[0]->host_id) < 0)
        return err_errno(e, errno, "sysctl %s: become the root of the user namespace", s->key);
    r = sysctl_write(proc_sys, s, e);
    if (seteuid(0) < 0)
        abort(); /* nothing that follows would be allowed */
    return r;
}

int sysctls_apply(const Podd__Shim__SpawnRequest *request, struct err *e)
{
    if (!request->n_sysctls)
        return 0;
    _cleanup_close_ int proc_sys = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statfs fs;
    if (proc_sys < 0 || fstatfs(proc_sys, &fs) < 0)
        return err_errno(e, errno, "open /proc/sys");
    if (fs.f_type != PROC_SUPER_MAGIC)
        return err_set(e, ERR_FAILED_PRECONDITION, "/proc/sys is not on a proc file system");
    for (size_t i = 0; i < request->n_sysctls; i++)
        if (sysctl_write_for(proc_sys, request->sysctls[i], request, e) < 0)
            return -1;
    return 0;
}
