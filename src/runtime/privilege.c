/*
 * Gives a child the identity it will run with. Runs last before execve.
 *
 * The order is forced by what each step needs: the bounding set wants CAP_SETPCAP, the ids want
 * CAP_SETUID, a system call filter wants CAP_SYS_ADMIN unless no_new_privs is set, and after the
 * filter only few calls may still be made. So CAP_SYS_ADMIN is kept until the filter is in place,
 * and then the final sets are written in one call. Changing ids clears two settings, "not dumpable"
 * and the parent's death signal: they are set after it.
 */
#include "child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "sys.h"

static int capabilities_set(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(effective >> (32 * i));
        data[i].permitted = (uint32_t)(permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    return sys_result(syscall(SYS_capset, &header, data));
}

static int bounding_drop(uint64_t keep, struct err *e)
{
    for (unsigned cap = 0; cap < 64; cap++) {
        if (keep & (UINT64_C(1) << cap))
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL)
                break; /* the kernel knows no more */
            return err_errno(e, errno, "drop capability %u from the bounding set", cap);
        }
    }
    return 0;
}

static int label_write(const struct child *c, struct err *e)
{
    if (c->lsm_exec < 0)
        return 0;
    const process_spec_t *p = c->process;
    bool apparmor = !str_empty(p->apparmor_profile);
    _cleanup_free_ char *text =
        apparmor ? xasprintf("exec %s", p->apparmor_profile) : xstrdup(p->selinux_label);
    int r = fd_write_all(c->lsm_exec, text, strlen(text));
    if (r == -ENOENT && apparmor)
        return err_set(e, ERR_FAILED_PRECONDITION, "AppArmor profile %s is not loaded",
                       p->apparmor_profile);
    if (r < 0)
        return err_errno(e, r, "set the %s \"%s\"", apparmor ? "AppArmor profile" : "SELinux label",
                         apparmor ? p->apparmor_profile : p->selinux_label);
    return 0;
}

static int ids_set(const process_spec_t *p, struct err *e)
{
    _Static_assert(sizeof(gid_t) == sizeof(*p->groups), "groups are passed as they are");
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return err_errno(e, errno, "keep capabilities");
    if (setgroups(p->n_groups, (const gid_t *)p->groups) < 0)
        return err_errno(e, errno, "set %zu supplementary groups", p->n_groups);
    if (setresgid(p->gid, p->gid, p->gid) < 0)
        return err_errno(e, errno, "become group %u", p->gid);
    if (setresuid(p->uid, p->uid, p->uid) < 0)
        return err_errno(e, errno, "become user %u", p->uid);
    return 0;
}

/* Dies with the shim, and must not outlive one that is gone already. */
static int parent_bind(const struct child *c, struct err *e)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return err_errno(e, errno, "bind to the shim's life");
    struct pollfd p = {.fd = c->report};
    if (poll(&p, 1, 0) < 0 || (p.revents & POLLHUP))
        return err_set(e, ERR_UNAVAILABLE, "the shim is gone");
    return 0;
}

static int seccomp_load(const process_spec_t *p, struct err *e)
{
    if (!p->seccomp.len)
        return 0;
    if (p->seccomp.len % sizeof(struct sock_filter) ||
        p->seccomp.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return err_set(e, ERR_INVALID_ARGUMENT, "a seccomp program of %zu bytes", p->seccomp.len);
    struct sock_fprog program = {.len =
                                     (unsigned short)(p->seccomp.len / sizeof(struct sock_filter)),
                                 .filter = (struct sock_filter *)p->seccomp.data};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->seccomp_flags, &program) != 0)
        return err_errno(e, errno, "load the seccomp filter");
    return 0;
}

static int capabilities_final(const process_spec_t *p, struct err *e)
{
    int r = capabilities_set(p->cap_effective, p->cap_permitted, p->cap_inheritable);
    if (r < 0)
        return err_errno(e, r, "set capabilities (permitted %#llx)",
                         (unsigned long long)p->cap_permitted);
    for (unsigned cap = 0; p->cap_ambient >> cap && cap < 64; cap++)
        if ((p->cap_ambient & (UINT64_C(1) << cap)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return err_errno(e, errno, "raise ambient capability %u", cap);
    return 0;
}

/* After the ids changed, with the effective set that the program will have. */
static int cwd_enter_as_user(struct child *c, struct err *e)
{
    if (c->in_cwd)
        return 0;
    if (cwd_enter(c, e) < 0)
        return -1;
    if (!c->in_cwd)
        return err_set(e, ERR_INVALID_ARGUMENT, "working directory %s: user %u may not enter it",
                       c->process->cwd, c->process->uid);
    return 0;
}

int privilege_apply(struct child *c, struct err *e)
{
    const process_spec_t *p = c->process;
    const uint64_t admin = UINT64_C(1) << CAP_SYS_ADMIN;
    if (label_write(c, e) < 0 || bounding_drop(p->cap_bounding, e) < 0 || ids_set(p, e) < 0 ||
        parent_bind(c, e) < 0)
        return -1;
    umask((mode_t)p->umask);
    int r = capabilities_set(p->cap_effective, p->cap_permitted | admin, p->cap_inheritable);
    if (r < 0)
        return err_errno(e, r, "limit capabilities (permitted %#llx)",
                         (unsigned long long)p->cap_permitted);
    if (cwd_enter_as_user(c, e) < 0)
        return -1;

    if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, errno, "set no_new_privs");
    if (p->no_new_privs) {
        /* Needs no capability, so it may come last. */
        if (capabilities_final(p, e) < 0 || seccomp_load(p, e) < 0)
            return -1;
    } else {
        r = capabilities_set(p->cap_effective | admin, p->cap_permitted | admin,
                             p->cap_inheritable);
        if (r < 0)
            return err_errno(e, r, "keep CAP_SYS_ADMIN for the seccomp filter");
        if (seccomp_load(p, e) < 0 || capabilities_final(p, e) < 0)
            return -1;
    }
    r = report_ready(c->report);
    return r < 0 ? err_errno(e, r, "report to the shim") : 0;
}
