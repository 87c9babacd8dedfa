/*
 * from_container.c - a ContainerConfig as a struct container_config.
 */
#include "private.h"

#include <signal.h>

/* ---- Signals ----------------------------------------------------------------------------------
 */

int signal_from(Runtime__V1__Signal signal, int *ret, struct err *e)
{
    /* CRI numbers signals by name in alphabetical order; 35 to 65 are the real-time ones. */
    static const uint8_t numbers[] = {
        0,       SIGABRT, SIGALRM,   SIGBUS,  SIGCHLD,   SIGCHLD,  SIGCONT, SIGFPE,  SIGHUP,
        SIGILL,  SIGINT,  SIGIO,     SIGABRT, SIGKILL,   SIGPIPE,  SIGPOLL, SIGPROF, SIGPWR,
        SIGQUIT, SIGSEGV, SIGSTKFLT, SIGSTOP, SIGSYS,    SIGTERM,  SIGTRAP, SIGTSTP, SIGTTIN,
        SIGTTOU, SIGURG,  SIGUSR1,   SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
    };
    static_assert(ARRAY_SIZE(numbers) == RUNTIME__V1__SIGNAL__SIGNAL_SIGRTMIN,
                  "one number for each signal before the real-time ones");

    if (signal < RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT ||
        signal > RUNTIME__V1__SIGNAL__SIGNAL_SIGRTMAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "stop_signal: unknown signal %d", signal);
    if (signal < RUNTIME__V1__SIGNAL__SIGNAL_SIGRTMIN)
        *ret = numbers[signal];
    else /* the kernel's numbers: 34 is what programs see as SIGRTMIN */
        *ret = 34 + (int)(signal - RUNTIME__V1__SIGNAL__SIGNAL_SIGRTMIN);
    return 0;
}

/* ---- Resources ----------------------------------------------------------------------------------
 */

int limits_from(const Runtime__V1__LinuxContainerResources *r, struct arena *a,
                struct cgroup_limits *ret, struct err *e)
{
    if (!r)
        return 0;
    if (r->cpu_period < 0 || r->cpu_shares < 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "resources: cpu_period %lld and cpu_shares %lld cannot be negative",
                       (long long)r->cpu_period, (long long)r->cpu_shares);
    struct hugepage_limit *pages = arena_alloc(a, r->n_hugepage_limits * sizeof(*pages));
    for (size_t i = 0; i < r->n_hugepage_limits; i++)
        pages[i] =
            (struct hugepage_limit){r->hugepage_limits[i]->page_size, r->hugepage_limits[i]->limit};
    *ret = (struct cgroup_limits){
        .cpu_period = r->cpu_period,
        .cpu_quota = r->cpu_quota,
        .cpu_shares = r->cpu_shares,
        .memory_bytes = r->memory_limit_in_bytes,
        .memory_swap_bytes = r->memory_swap_limit_in_bytes,
        .cpuset_cpus = r->cpuset_cpus,
        .cpuset_mems = r->cpuset_mems,
        .hugepages = pages,
        .n_hugepages = r->n_hugepage_limits,
        .unified = arena_from_map(a, r->unified, r->n_unified),
        .n_unified = r->n_unified,
    };
    return 0;
}

/* ---- Mounts, devices, environment
 * -------------------------------------------------------------------- */

static int mount_options_from(const Runtime__V1__Mount *m, size_t index, struct mount_config *ret,
                              struct err *e)
{
    for (size_t i = 0; i < m->n_mount_options; i++) {
        if (str_equal(m->mount_options[i], "noexec"))
            ret->noexec = true;
        else if (str_equal(m->mount_options[i], "nosuid"))
            ret->nosuid = true;
        else if (str_equal(m->mount_options[i], "nodev"))
            ret->nodev = true;
        else
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "mounts[%zu].mount_options: \"%s\" is not one of noexec, nosuid, nodev",
                           index, m->mount_options[i]);
    }
    return 0;
}

static int mount_from(const Runtime__V1__Mount *m, size_t index, struct arena *a,
                      struct mount_config *ret, struct err *e)
{
    bool image = m->image && !str_empty(m->image->image);

    if (str_empty(m->container_path))
        return err_set(e, ERR_INVALID_ARGUMENT, "mounts[%zu].container_path is empty", index);
    if (!image && str_empty(m->host_path))
        return err_set(e, ERR_INVALID_ARGUMENT, "mounts[%zu].host_path is empty (for %s)", index,
                       m->container_path);
    if (image && !str_empty(m->host_path))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mounts[%zu]: host_path and image exclude each other (for %s)", index,
                       m->container_path);
    if (image && !m->readonly)
        return err_set(e, ERR_INVALID_ARGUMENT, "mounts[%zu]: an image volume must be readonly",
                       index);
    if (!image && !str_empty(m->image_sub_path))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mounts[%zu]: image_sub_path needs an image (for %s)", index,
                       m->container_path);
    if ((unsigned)m->propagation > RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL)
        return err_set(e, ERR_INVALID_ARGUMENT, "mounts[%zu].propagation: unknown value %d", index,
                       m->propagation);
    if (m->recursive_read_only && !m->readonly)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mounts[%zu]: recursive_read_only needs readonly (for %s)", index,
                       m->container_path);
    if (m->recursive_read_only &&
        m->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mounts[%zu]: recursive_read_only needs private propagation (for %s)", index,
                       m->container_path);
    *ret = (struct mount_config){
        .container_path = m->container_path,
        .host_path = m->host_path,
        .readonly = m->readonly,
        .recursive_readonly = m->recursive_read_only,
        .selinux_relabel = m->selinux_relabel,
        .propagation = (enum mount_propagation)m->propagation,
        .uid_maps = id_ranges_from(a, m->uidmappings, m->n_uidmappings),
        .n_uid_maps = m->n_uidmappings,
        .gid_maps = id_ranges_from(a, m->gidmappings, m->n_gidmappings),
        .n_gid_maps = m->n_gidmappings,
        .create_source = !image, /* as other runtimes do, and kubelet's users count on */
        .image = image ? m->image->image : NULL,
        .image_sub_path = m->image_sub_path,
    };
    return mount_options_from(m, index, ret, e);
}

static int mounts_from(const Runtime__V1__ContainerConfig *c, struct arena *a,
                       struct container_config *ret, struct err *e)
{
    struct mount_config *mounts = arena_alloc(a, c->n_mounts * sizeof(*mounts));

    for (size_t i = 0; i < c->n_mounts; i++)
        if (mount_from(c->mounts[i], i, a, &mounts[i], e) < 0)
            return -1;
    ret->mounts = mounts;
    ret->n_mounts = c->n_mounts;
    return 0;
}

static int envs_from(const Runtime__V1__ContainerConfig *c, struct arena *a,
                     struct container_config *ret, struct err *e)
{
    struct key_value *envs = arena_alloc(a, c->n_envs * sizeof(*envs));

    for (size_t i = 0; i < c->n_envs; i++) {
        const Runtime__V1__KeyValue *env = c->envs[i];
        if (str_empty(env->key) || strchr(env->key, '='))
            return err_set(e, ERR_INVALID_ARGUMENT, "envs[%zu].key: \"%s\" is not a name", i,
                           env->key);
        if (env->value.len > 0 && memchr(env->value.data, '\0', env->value.len))
            return err_set(e, ERR_INVALID_ARGUMENT, "envs[%zu] (%s): the value has a NUL byte", i,
                           env->key);
        envs[i].key = env->key;
        envs[i].value = arena_printf(a, "%.*s", (int)env->value.len,
                                     env->value.len ? (char *)env->value.data : "");
    }
    ret->envs = envs;
    ret->n_envs = c->n_envs;
    return 0;
}

static void devices_from(const Runtime__V1__ContainerConfig *c, struct arena *a,
                         struct container_config *ret)
{
    struct device_config *devices = arena_alloc(a, c->n_devices * sizeof(*devices));
    char **cdi = arena_alloc(a, (c->n_cdi_devices + 1) * sizeof(*cdi));

    for (size_t i = 0; i < c->n_devices; i++)
        devices[i] = (struct device_config){c->devices[i]->container_path, c->devices[i]->host_path,
                                            c->devices[i]->permissions};
    for (size_t i = 0; i < c->n_cdi_devices; i++)
        cdi[i] = c->cdi_devices[i]->name;
    ret->devices = devices;
    ret->n_devices = c->n_devices;
    ret->cdi_devices = cdi;
}

/* ---- Security
 * ------------------------------------------------------------------------------------------ */

/* The old string form of a profile: "", runtime/default, unconfined, localhost/<name>. */
static int profile_from_text(const char *text, const char *field, struct profile_config *ret,
                             struct err *e)
{
    if (str_equal(text, "runtime/default") || str_equal(text, "docker/default")) {
        ret->type = PROFILE_RUNTIME_DEFAULT;
    } else if (str_equal(text, "unconfined")) {
        ret->type = PROFILE_UNCONFINED;
    } else if (str_starts_with(text, "localhost/")) {
        ret->type = PROFILE_LOCALHOST;
        ret->localhost_ref = text + strlen("localhost/");
    } else {
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: unknown profile \"%s\"", field, text);
    }
    return 0;
}

/* `unset` is what neither form given means. */
static int profile_from(const Runtime__V1__SecurityProfile *p, const char *text, const char *field,
                        enum profile_type unset, struct profile_config *ret, struct err *e)
{
    ret->type = unset;
    ret->asked = p || !str_empty(text);
    if (!p)
        return str_empty(text) ? 0 : profile_from_text(text, field, ret, e);
    switch (p->profile_type) {
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault:
        ret->type = PROFILE_RUNTIME_DEFAULT;
        break;
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined:
        ret->type = PROFILE_UNCONFINED;
        break;
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost:
        ret->type = PROFILE_LOCALHOST;
        break;
    case _RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE_IS_INT_SIZE:
    default:
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: unknown profile type %d", field,
                       p->profile_type);
    }
    if (ret->type != PROFILE_LOCALHOST && !str_empty(p->localhost_ref))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: localhost_ref \"%s\" needs type Localhost",
                       field, p->localhost_ref);
    if (ret->type == PROFILE_LOCALHOST && str_empty(p->localhost_ref))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: type Localhost needs a localhost_ref", field);
    ret->localhost_ref = str_starts_with(p->localhost_ref, "localhost/")
                             ? p->localhost_ref + strlen("localhost/")
                             : p->localhost_ref;
    return 0;
}

static int id_from(int64_t value, const char *field, uint32_t *ret, struct err *e)
{
    if (value < 0 || value > UINT32_MAX - 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: %lld is not a user or group id", field,
                       (long long)value);
    *ret = (uint32_t)value;
    return 0;
}

static int user_from(const Runtime__V1__LinuxContainerSecurityContext *s, struct arena *a,
                     struct security_config *ret, struct err *e)
{
    uint32_t *groups = arena_alloc(a, s->n_supplemental_groups * sizeof(*groups));

    for (size_t i = 0; i < s->n_supplemental_groups; i++)
        if (id_from(s->supplemental_groups[i], "supplemental_groups", &groups[i], e) < 0)
            return -1;
    ret->supplemental_groups = groups;
    ret->n_supplemental_groups = s->n_supplemental_groups;
    if ((unsigned)s->supplemental_groups_policy > RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict)
        return err_set(e, ERR_INVALID_ARGUMENT, "supplemental_groups_policy: unknown value %d",
                       s->supplemental_groups_policy);
    ret->groups_strict =
        s->supplemental_groups_policy == RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    ret->run_as_username = s->run_as_username;
    ret->has_run_as_user = s->run_as_user != NULL;
    if (s->run_as_user && id_from(s->run_as_user->value, "run_as_user", &ret->run_as_user, e) < 0)
        return -1;
    ret->has_run_as_group = s->run_as_group != NULL;
    if (s->run_as_group &&
        id_from(s->run_as_group->value, "run_as_group", &ret->run_as_group, e) < 0)
        return -1;
    if (ret->has_run_as_group && !ret->has_run_as_user && str_empty(ret->run_as_username))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "run_as_group needs run_as_user or run_as_username");
    return 0;
}

static int namespaces_from(const Runtime__V1__NamespaceOption *n, struct arena *a,
                           struct security_config *ret, struct err *e)
{
    if (!n)
        return 0;
    ret->pid = (enum namespace_mode)n->pid;
    ret->pid_target = n->target_id;
    if (ret->pid > NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT, "namespace_options.pid: unknown mode %d", n->pid);
    ret->network = (enum namespace_mode)n->network;
    if (ret->network > NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT, "namespace_options.network: unknown mode %d",
                       n->network);
    ret->ipc = (enum namespace_mode)n->ipc;
    if (ret->ipc > NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT, "namespace_options.ipc: unknown mode %d", n->ipc);
    if (!str_empty(n->target_id) && ret->pid != NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "namespace_options.target_id \"%s\" needs pid TARGET", n->target_id);
    if (!n->userns_options)
        return 0;
    struct id_maps *maps = arena_alloc(a, sizeof(*maps));
    ret->user_ns = maps;
    return user_namespace_from(n->userns_options, a, maps, e);
}

static int security_from(const Runtime__V1__LinuxContainerSecurityContext *s, struct arena *a,
                         struct security_config *ret, struct err *e)
{
    ret->seccomp.type = PROFILE_UNCONFINED;
    if (!s)
        return 0;
    if (s->capabilities) {
        const Runtime__V1__Capability *c = s->capabilities;
        ret->add_capabilities = arena_strv(a, c->add_capabilities, c->n_add_capabilities);
        ret->drop_capabilities = arena_strv(a, c->drop_capabilities, c->n_drop_capabilities);
        ret->ambient_capabilities =
            arena_strv(a, c->add_ambient_capabilities, c->n_add_ambient_capabilities);
    }
    ret->privileged = s->privileged;
    ret->no_new_privs = s->no_new_privs;
    ret->readonly_rootfs = s->readonly_rootfs;
    ret->masked_paths = arena_strv(a, s->masked_paths, s->n_masked_paths);
    ret->readonly_paths = arena_strv(a, s->readonly_paths, s->n_readonly_paths);
    if (s->selinux_options) {
        ret->selinux_user = s->selinux_options->user;
        ret->selinux_role = s->selinux_options->role;
        ret->selinux_type = s->selinux_options->type;
        ret->selinux_level = s->selinux_options->level;
    }
    if (namespaces_from(s->namespace_options, a, ret, e) < 0 ||
        profile_from(s->seccomp, s->seccomp_profile_path, "seccomp", PROFILE_UNCONFINED,
                     &ret->seccomp, e) < 0 ||
        profile_from(s->apparmor, s->apparmor_profile, "apparmor", PROFILE_RUNTIME_DEFAULT,
                     &ret->apparmor, e) < 0)
        return -1;
    return user_from(s, a, ret, e);
}

/* ---- The whole
 * ---------------------------------------------------------------------------------------------- */

int container_config_from(const Runtime__V1__ContainerConfig *c, struct arena *a,
                          struct container_config *ret, struct err *e)
{
    struct container_config config = {0};

    if (!c)
        return err_set(e, ERR_INVALID_ARGUMENT, "config is missing");
    if (!c->metadata || str_empty(c->metadata->name))
        return err_set(e, ERR_INVALID_ARGUMENT, "config.metadata.name is missing");
    if (!c->image || str_empty(c->image->image))
        return err_set(e, ERR_INVALID_ARGUMENT, "config.image.image is missing");
    if (c->windows)
        return err_set(e, ERR_INVALID_ARGUMENT, "config.windows: this node runs Linux");
    config.name = c->metadata->name;
    config.attempt = c->metadata->attempt;
    config.image = c->image->image;
    config.command = arena_strv(a, c->command, c->n_command);
    config.args = arena_strv(a, c->args, c->n_args);
    config.working_dir = c->working_dir;
    config.labels = arena_from_map(a, c->labels, c->n_labels);
    config.n_labels = c->n_labels;
    config.annotations = arena_from_map(a, c->annotations, c->n_annotations);
    config.n_annotations = c->n_annotations;
    config.log_path = c->log_path;
    config.stdin_open = c->stdin;
    config.stdin_once = c->stdin_once;
    config.tty = c->tty;
    devices_from(c, a, &config);
    if (signal_from(c->stop_signal, &config.stop_signal, e) < 0 ||
        envs_from(c, a, &config, e) < 0 || mounts_from(c, a, &config, e) < 0)
        return -1;
    if (security_from(c->linux ? c->linux->security_context : NULL, a, &config.security, e) < 0)
        return -1;
    if (c->linux && c->linux->resources) {
        if (limits_from(c->linux->resources, a, &config.limits, e) < 0)
            return -1;
        config.has_oom_score_adj = true;
        config.oom_score_adj = c->linux->resources->oom_score_adj;
        if (config.oom_score_adj < -1000 || config.oom_score_adj > 1000)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "resources.oom_score_adj: %lld is not in "
                           "[-1000, 1000]",
                           (long long)config.oom_score_adj);
    }
    config.asked = arena_pack(a, &c->base);
    *ret = config;
    return 0;
}
