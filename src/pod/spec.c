/*
 * spec.c - the translation's frame: argv, environment, directory, user, cgroup, limits, log.
 *
 * Precedence is docker's, which images are made for: a command of the caller replaces the image's
 * entrypoint and cmd, arguments alone replace its cmd; of the environment the later wins (podd's
 * PATH and HOSTNAME, the image, the caller) and keeps the place of the first.
 */
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/resource.h>

#include "private.h"
#include "spec.h"

static const char path_default[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum { NOFILE_SOFT = 1024, NOFILE_HARD = 524288, UMASK = 0022 };

void strings_push(char ***list, size_t *n, const char *s)
{
    *(char **)array_push(list, n, sizeof(**list)) = xstrdup(s);
}

/* protobuf-c frees a string unless it is its own empty one. */
static void set_string(char **field, const char *s)
{
    *field = xstrdup(s);
}

/* ---- Paths ---------------------------------------------------------------------------------- */

char *container_path_normalise(const char *what, const char *path, struct err *e)
{
    struct strbuf b = {0};

    if (str_empty(path) || path[0] != '/') {
        err_set(e, ERR_INVALID_ARGUMENT, "%s \"%s\": it must be absolute", what, path ? path : "");
        return NULL;
    }
    for (const char *part = path; *part;) {
        part += strspn(part, "/");
        size_t len = strcspn(part, "/");
        if (len == 2 && strncmp(part, "..", 2) == 0) {
            strbuf_free(&b);
            err_set(e, ERR_INVALID_ARGUMENT, "%s \"%s\": '..' is not allowed", what, path);
            return NULL;
        }
        if (len > 0 && !(len == 1 && *part == '.')) {
            strbuf_adds(&b, "/");
            strbuf_add(&b, part, len);
        }
        part += len;
    }
    if (b.len == 0)
        strbuf_adds(&b, "/");
    return strbuf_take(&b);
}

/* ---- argv and environment ------------------------------------------------------------------- */

static void push_all(process_spec_t *process, char *const *v)
{
    for (size_t i = 0; i < strv_len(v); i++)
        strings_push(&process->args, &process->n_args, v[i]);
}

static int set_args(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct container_config *config = in->config;
    bool own_command = strv_len(config->command) > 0;
    bool own_args = strv_len(config->args) > 0;

    push_all(process, own_command ? config->command : in->image->entrypoint);
    if (own_command || own_args)
        push_all(process, config->args);
    else
        push_all(process, in->image->cmd);
    if (process->n_args == 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "no command specified: neither the container nor the image %s names one",
                       config->image);
    if (process->args[0][0] == '\0')
        return err_set(e, ERR_INVALID_ARGUMENT, "the command is empty");
    return 0;
}

static size_t find_env(const process_spec_t *process, const char *key, size_t len)
{
    size_t i = 0;

    while (i < process->n_env &&
           (strncmp(process->env[i], key, len) != 0 || process->env[i][len] != '='))
        i++;
    return i;
}

void env_set(process_spec_t *process, const char *key, const char *value)
{
    size_t i = find_env(process, key, strlen(key));

    if (i == process->n_env)
        array_push(&process->env, &process->n_env, sizeof(*process->env));
    free(process->env[i]);
    process->env[i] = xasprintf("%s=%s", key, value);
}

bool env_has(const process_spec_t *process, const char *key)
{
    return find_env(process, key, strlen(key)) < process->n_env;
}

static int set_env(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct container_config *config = in->config;

    env_set(process, "PATH", path_default);
    env_set(process, "HOSTNAME", in->hostname);
    for (size_t i = 0; i < strv_len(in->image->env); i++) {
        const char *entry = in->image->env[i];
        const char *equals = strchr(entry, '=');
        if (!equals || equals == entry)
            continue; /* images carry such, and mean nothing by it */
        _cleanup_free_ char *key = xstrndup(entry, (size_t)(equals - entry));
        env_set(process, key, equals + 1);
    }
    for (size_t i = 0; i < config->n_envs; i++) {
        const char *key = config->envs[i].key;
        if (str_empty(key) || strchr(key, '='))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "environment variable \"%s\": a name is not empty and has no '='",
                           key ? key : "");
        env_set(process, key, config->envs[i].value ? config->envs[i].value : "");
    }
    if (config->tty && !env_has(process, "TERM"))
        env_set(process, "TERM", "xterm");
    return 0;
}

static int set_cwd(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const char *own = in->config->working_dir, *images = in->image->working_dir;
    _cleanup_free_ char *joined = NULL;

    if (str_empty(own) && !str_empty(images)) {
        joined = xasprintf("%s%s", images[0] == '/' ? "" : "/", images);
        own = joined;
    }
    free(process->cwd == protobuf_c_empty_string ? NULL : process->cwd);
    process->cwd = container_path_normalise("working directory", str_empty(own) ? "/" : own, e);
    if (!process->cwd) {
        process->cwd = (char *)protobuf_c_empty_string;
        return -1;
    }
    return 0;
}

/* ---- User ----------------------------------------------------------------------------------- */

static int choose_user(struct plan *plan, const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;
    struct strbuf b = {0};

    if (!str_empty(s->run_as_username)) {
        if (strchr(s->run_as_username, ':'))
            return err_set(e, ERR_INVALID_ARGUMENT, "user \"%s\": a user name has no ':'",
                           s->run_as_username);
        strbuf_adds(&b, s->run_as_username);
    } else if (s->has_run_as_user) {
        strbuf_addf(&b, "%u", s->run_as_user);
    } else if (s->has_run_as_group) {
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "a group to run as (%u) is given without a user to run as", s->run_as_group);
    } else {
        strbuf_adds(&b, in->image->user ? in->image->user : "");
    }
    if (s->has_run_as_group)
        strbuf_addf(&b, ":%u", s->run_as_group);
    plan->user = strbuf_take(&b);
    plan->groups_strict = s->groups_strict;
    plan->extra_groups =
        xmemdup(s->supplemental_groups, s->n_supplemental_groups * sizeof(*s->supplemental_groups));
    plan->n_extra_groups = s->n_supplemental_groups;
    return 0;
}

static int compare_groups(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void plan_set_user(struct plan *plan, const struct image_user *user, uint32_t **ret_groups,
                   size_t *ret_n_groups)
{
    process_spec_t *process = plan->spec->process;
    size_t from_image = plan->groups_strict ? 0 : user->n_groups;
    size_t n = 0, unique = 0;
    uint32_t *groups = xcalloc(1 + from_image + plan->n_extra_groups, sizeof(*groups));

    groups[n++] = user->gid;
    for (size_t i = 0; i < from_image; i++)
        groups[n++] = user->groups[i];
    for (size_t i = 0; i < plan->n_extra_groups; i++)
        groups[n++] = plan->extra_groups[i];
    qsort(groups, n, sizeof(*groups), compare_groups);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || groups[i] != groups[i - 1])
            groups[unique++] = groups[i];

    process->uid = user->uid;
    process->gid = user->gid;
    free(process->groups);
    process->groups = xmemdup(groups, unique * sizeof(*groups));
    process->n_groups = unique;
    if (!env_has(process, "HOME"))
        env_set(process, "HOME", str_empty(user->home) ? "/" : user->home);
    *ret_groups = groups;
    *ret_n_groups = unique;
}

/* ---- Limits, log, signal -------------------------------------------------------------------- */

/* Explicit, so that nothing of the daemon's own is inherited; never above what the daemon may give
 * where it lacks CAP_SYS_RESOURCE. */
static void set_rlimits(process_spec_t *process)
{
    Podd__Shim__Rlimit *nofile = xmalloc(sizeof(*nofile));
    struct rlimit own;

    podd__shim__rlimit__init(nofile);
    nofile->resource = RLIMIT_NOFILE;
    nofile->hard = NOFILE_HARD;
    if (getrlimit(RLIMIT_NOFILE, &own) == 0 && own.rlim_max < nofile->hard)
        nofile->hard = own.rlim_max;
    nofile->soft = nofile->hard < NOFILE_SOFT ? nofile->hard : NOFILE_SOFT;
    *(Podd__Shim__Rlimit **)array_push(&process->rlimits, &process->n_rlimits, sizeof(nofile)) =
        nofile;
}

static int set_oom_score(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct container_config *config = in->config;

    if (config->has_oom_score_adj &&
        (config->oom_score_adj < -1000 || config->oom_score_adj > 1000))
        return err_set(e, ERR_INVALID_ARGUMENT, "oom_score_adj %lld: it is from -1000 to 1000",
                       (long long)config->oom_score_adj);
    /* Without a wish it is 0 and not podd's own, which may be far below. */
    process->set_oom_score_adj = true;
    process->oom_score_adj = config->has_oom_score_adj ? (int32_t)config->oom_score_adj : 0;
    process->oom_score_adj_best_effort = in->restrict_oom_score_adj || !config->has_oom_score_adj;
    return 0;
}

static int set_log(container_spec_t *spec, const struct spec_input *in, struct err *e)
{
    const char *relative = in->config->log_path;

    if (str_empty(relative) || str_empty(in->log_directory))
        return 0;
    if (relative[0] == '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "log path %s: it must be relative", relative);
    _cleanup_free_ char *joined = xasprintf("%s/%s", in->log_directory, relative);
    spec->log_path = container_path_normalise("log path", joined, e);
    if (!spec->log_path) {
        spec->log_path = (char *)protobuf_c_empty_string;
        return -1;
    }
    spec->log_size_max = in->config->log_size_max;
    spec->log_files_max = in->config->log_files_max;
    return 0;
}

int stop_signal_parse(const char *text)
{
    uint64_t number;
    int base = 0, sign = 1;

    if (str_empty(text))
        return 0;
    if (parse_uint(text, (uint64_t)SIGRTMAX, &number) == 0)
        return (int)number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    if (strncasecmp(text, "RTMIN", 5) == 0) {
        base = SIGRTMIN;
    } else if (strncasecmp(text, "RTMAX", 5) == 0) {
        base = SIGRTMAX;
        sign = -1;
    }
    if (base) {
        const char *rest = text + 5;
        if (*rest == '\0')
            return base;
        if (*rest != (sign > 0 ? '+' : '-') ||
            parse_uint(rest + 1, (uint64_t)(SIGRTMAX - SIGRTMIN), &number) < 0)
            return 0;
        return base + sign * (int)number;
    }
    for (int n = 1; n < SIGRTMIN; n++) {
        const char *name = sigabbrev_np(n);
        if (name && strcasecmp(name, text) == 0)
            return n;
    }
    return 0;
}

static int choose_stop_signal(struct plan *plan, const struct spec_input *in, struct err *e)
{
    plan->stop_signal = SIGTERM;
    if (in->config->stop_signal < 0 || in->config->stop_signal > SIGRTMAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "stop signal %d: there is no such signal",
                       in->config->stop_signal);
    if (in->config->stop_signal > 0) {
        plan->stop_signal = in->config->stop_signal;
    } else if (!str_empty(in->image->stop_signal)) {
        plan->stop_signal = stop_signal_parse(in->image->stop_signal);
        if (plan->stop_signal == 0)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "stop signal \"%s\" of the image: there is no such signal",
                           in->image->stop_signal);
    }
    return 0;
}

/* ---- Namespaces, cgroup --------------------------------------------------------------------- */

static bool ranges_equal(const struct id_range *a, size_t n, const struct id_range *b, size_t m)
{
    for (size_t i = 0; n == m && i < n; i++)
        if (a[i].container_id != b[i].container_id || a[i].host_id != b[i].host_id ||
            a[i].length != b[i].length)
            return false;
    return n == m;
}

static int check_user_namespace(const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;
    const struct id_maps *maps = s->user_ns;

    if (maps && (!ranges_equal(maps->uids, maps->n_uids, in->uid_maps, in->n_uid_maps) ||
                 !ranges_equal(maps->gids, maps->n_gids, in->gid_maps, in->n_gid_maps)))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the user namespace asked for the container is not the pod's");
    if (in->n_uid_maps > 0 && s->pid == NAMESPACE_NODE)
        return err_set(
            e, ERR_INVALID_ARGUMENT,
            "the node's processes cannot be shared with a pod that has a user namespace");
    return 0;
}

/* The network and IPC namespaces are the pod's: what a container says of them can only agree. */
static int check_pod_namespace(const char *what, enum namespace_mode wish, bool is_host,
                               struct err *e)
{
    if (wish == NAMESPACE_CONTAINER || wish == NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "a container's %s namespace is the pod's, never its own or another's", what);
    if (wish == NAMESPACE_NODE && !is_host)
        return err_set(
            e, ERR_INVALID_ARGUMENT,
            "the node's %s namespace is asked for the container, but the pod has its own", what);
    return 0;
}

static int set_namespaces(container_spec_t *spec, const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;

    if (check_user_namespace(in, e) < 0 ||
        check_pod_namespace("network", s->network, in->host_network, e) < 0 ||
        check_pod_namespace("IPC", s->ipc, in->host_ipc, e) < 0)
        return -1;
    switch (s->pid) {
    case NAMESPACE_POD:
        spec->pid_mode = PODD__SHIM__PID_MODE__PID_POD;
        break;
    case NAMESPACE_CONTAINER:
        spec->pid_mode = PODD__SHIM__PID_MODE__PID_OWN;
        break;
    case NAMESPACE_NODE:
        spec->pid_mode = PODD__SHIM__PID_MODE__PID_HOST;
        break;
    case NAMESPACE_TARGET:
        if (str_empty(s->pid_target))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "PID namespace of another container: its id is missing");
        spec->pid_mode = PODD__SHIM__PID_MODE__PID_TARGET;
        set_string(&spec->pid_target, s->pid_target);
        break;
    }
    spec->uid_maps = id_maps_new(in->uid_maps, in->n_uid_maps);
    spec->n_uid_maps = in->n_uid_maps;
    spec->gid_maps = id_maps_new(in->gid_maps, in->n_gid_maps);
    spec->n_gid_maps = in->n_gid_maps;
    /* A container sees its own cgroup as the root of the tree, on v1 as on v2. */
    spec->cgroup_namespace = !s->privileged;
    return 0;
}

static int set_cgroup(container_spec_t *spec, const struct spec_input *in, struct err *e)
{
    _cleanup_free_ char *joined = xasprintf("%s/%s", in->cgroup_parent, in->container_id);

    spec->cgroup_path = container_path_normalise("cgroup", joined, e);
    if (!spec->cgroup_path) {
        spec->cgroup_path = (char *)protobuf_c_empty_string;
        return -1;
    }
    return cgroup_plan(&in->config->limits, &spec->cgroup_writes, &spec->n_cgroup_writes, e);
}

/* ---- The whole ------------------------------------------------------------------------------ */

static int set_process(struct plan *plan, const struct spec_input *in, struct err *e)
{
    process_spec_t *process = plan->spec->process;

    if (set_args(process, in, e) < 0 || set_env(process, in, e) < 0 ||
        set_cwd(process, in, e) < 0 || choose_user(plan, in, e) < 0 ||
        set_oom_score(process, in, e) < 0)
        return -1;
    set_rlimits(process);
    process->umask = UMASK;
    process->tty = in->config->tty;
    process->no_new_privs = in->config->security.no_new_privs;
    return 0;
}

static int fill(struct plan *plan, const struct spec_input *in, struct err *e)
{
    container_spec_t *spec = plan->spec;

    set_string(&spec->id, in->container_id);
    spec->stdin_open = in->config->stdin_open;
    spec->stdin_once = in->config->stdin_once;
    spec->rootfs_readonly = in->config->security.readonly_rootfs;
    if (set_process(plan, in, e) < 0 || set_namespaces(spec, in, e) < 0 ||
        set_cgroup(spec, in, e) < 0 || set_log(spec, in, e) < 0 ||
        choose_stop_signal(plan, in, e) < 0 || spec_set_security(plan, in, e) < 0 ||
        spec_set_cdi(plan, in, e) < 0)
        return -1;
    return spec_set_mounts(plan, in, e);
}

int plan_make(const struct spec_input *in, struct plan **ret, struct err *e)
{
    struct plan *plan = xnew(struct plan);

    plan->spec = xmalloc(sizeof(*plan->spec));
    podd__shim__container_spec__init(plan->spec);
    plan->spec->process = xmalloc(sizeof(*plan->spec->process));
    podd__shim__process_spec__init(plan->spec->process);
    if (fill(plan, in, e) < 0) {
        plan_free(plan);
        return -1;
    }
    *ret = plan;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    podd__shim__container_spec__free_unpacked(plan->spec, NULL);
    free(plan->user);
    free(plan->extra_groups);
    strv_free(plan->volumes);
    strv_free(plan->sources);
    image_mounts_clear(&plan->image_mounts);
    free(plan);
}
