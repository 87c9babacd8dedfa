/*
 * spec_security.c - capabilities, seccomp, AppArmor, SELinux, devices, masked paths.
 *
 * Everything fails closed: a profile that is missing, empty or broken is an error of the creation,
 * never a container without one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apparmor.h"
#include "private.h"
#include "spec.h"

enum { PROFILE_MAX = 1 << 20 };

/* ---- Capabilities --------------------------------------------------------------------------- */

static bool is_all(const char *name)
{
    return strcasecmp(name, "ALL") == 0 || strcasecmp(name, "CAP_ALL") == 0;
}

static bool has_all(char *const *names)
{
    for (size_t i = 0; i < strv_len(names); i++)
        if (is_all(names[i]))
            return true;
    return false;
}

/* The named ones, "ALL" left out. */
static int sum_of(char *const *names, uint64_t *ret, struct err *e)
{
    uint64_t sum = 0, mask;

    for (size_t i = 0; i < strv_len(names); i++) {
        if (is_all(names[i]))
            continue;
        if (capability_parse(names[i], &mask, e) < 0)
            return -1;
        sum |= mask;
    }
    *ret = sum;
    return 0;
}

static int set_capabilities(process_spec_t *process, const struct security_config *s, struct err *e)
{
    uint64_t all = capability_all(), caps = capability_default() & all;
    uint64_t added, dropped, ambient;

    if (sum_of(s->add_capabilities, &added, e) < 0 ||
        sum_of(s->drop_capabilities, &dropped, e) < 0 ||
        sum_of(s->ambient_capabilities, &ambient, e) < 0)
        return -1;
    if (has_all(s->ambient_capabilities))
        ambient = all;
    if ((added | ambient) & ~all)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "a capability that was asked for is one that podd itself does not have");
    /* What is named wins over ALL, and what is dropped over what is added. */
    if (has_all(s->add_capabilities))
        caps = all;
    if (has_all(s->drop_capabilities))
        caps = 0;
    caps = (caps | added | ambient) & ~dropped;
    if (s->privileged)
        caps = all;
    ambient &= caps;
    process->cap_bounding = process->cap_permitted = process->cap_effective = caps;
    process->cap_inheritable = process->cap_ambient = ambient;
    return 0;
}

/* ---- Seccomp -------------------------------------------------------------------------------- */

/* A profile of the administrator's. Not opened if it could block: it is read on the loop. */
static int read_profile(const char *path, struct bytes *ret, struct err *e)
{
    struct stat st;

    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile %s: this is no file", path);
    if (st.st_size > PROFILE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile %s: longer than %d bytes", path,
                       PROFILE_MAX);
    struct bytes data = {.data = xmalloc((size_t)st.st_size + 1)};
    ssize_t n = fd_read_full(fd, data.data, (size_t)st.st_size);
    if (n < 0) {
        bytes_free(&data);
        return err_errno(e, (int)n, "read seccomp profile %s", path);
    }
    data.len = (size_t)n;
    data.data[data.len] = '\0';
    *ret = data;
    return 0;
}

static int set_profile_file(process_spec_t *process, const char *path, struct err *e)
{
    _cleanup_bytes_ struct bytes json = {0};
    struct bytes program = {0};
    uint32_t flags = 0;

    if (read_profile(path, &json, e) < 0)
        return -1;
    if (seccomp_compile_json((const char *)json.data, json.len, process->cap_bounding, &program,
                             &flags, e) < 0)
        return err_wrap(e, "seccomp profile %s", path);
    process->seccomp = (ProtobufCBinaryData){.data = program.data, .len = program.len};
    process->seccomp_flags = flags;
    return 0;
}

static int set_seccomp(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct profile_config *profile = &in->config->security.seccomp;
    const char *path = profile->localhost_ref;
    struct bytes program = {0};

    if (profile->type != PROFILE_LOCALHOST && !str_empty(path))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "seccomp: a profile file (%s) is given, but the type is not Localhost",
                       path);
    if (in->config->security.privileged || profile->type == PROFILE_UNCONFINED)
        return 0;
    if (profile->type == PROFILE_LOCALHOST) {
        if (path && str_starts_with(path, "localhost/"))
            path += strlen("localhost/");
        if (str_empty(path) || path[0] != '/')
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "seccomp: the path of the profile (\"%s\") must be absolute",
                           path ? path : "");
        return set_profile_file(process, path, e);
    }
    if (in->seccomp_default_profile)
        return set_profile_file(process, in->seccomp_default_profile, e);
    if (seccomp_compile_default(process->cap_bounding, &program, e) < 0)
        return err_wrap(e, "seccomp");
    process->seccomp = (ProtobufCBinaryData){.data = program.data, .len = program.len};
    return 0;
}

/* ---- AppArmor, SELinux ---------------------------------------------------------------------- */

static int set_apparmor_default(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;

    if (s->privileged)
        return 0;
    if (in->kernel->apparmor && in->apparmor_default_loaded)
        process->apparmor_profile = xstrdup(APPARMOR_DEFAULT_PROFILE);
    else if (s->apparmor.asked)
        return err_set(e, ERR_FAILED_PRECONDITION, "AppArmor profile RuntimeDefault: %s",
                       in->kernel->apparmor ? "podd could not load it when it started; see its log"
                                            : "AppArmor is not enabled on this node");
    return 0;
}

static int set_apparmor(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct profile_config *profile = &in->config->security.apparmor;
    const char *name = profile->localhost_ref;

    if (profile->type == PROFILE_UNCONFINED)
        return 0;
    if (profile->type == PROFILE_RUNTIME_DEFAULT)
        return set_apparmor_default(process, in, e);
    if (name && str_starts_with(name, "localhost/"))
        name += strlen("localhost/");
    if (str_empty(name))
        return err_set(e, ERR_INVALID_ARGUMENT, "AppArmor: the profile has no name");
    if (!in->kernel->apparmor)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "AppArmor profile %s: AppArmor is not enabled on this node", name);
    if (apparmor_check_loaded(name, e) < 0)
        return -1;
    process->apparmor_profile = xstrdup(name);
    return 0;
}

static int add_label_part(struct strbuf *label, const char *part, const char *other, struct err *e)
{
    const char *text = str_empty(part) ? other : part;

    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(e, ERR_INVALID_ARGUMENT, "SELinux option \"%s\" is malformed", text);
    if (label->len > 0)
        strbuf_adds(label, ":");
    strbuf_adds(label, text);
    return 0;
}

/* Without SELinux its options mean nothing, as for other programs of a node. */
static int set_selinux(process_spec_t *process, const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;
    _cleanup_strbuf_ struct strbuf label = {0};

    if (!in->kernel->selinux || s->privileged ||
        (str_empty(s->selinux_user) && str_empty(s->selinux_role) && str_empty(s->selinux_type) &&
         str_empty(s->selinux_level)))
        return 0;
    if (add_label_part(&label, s->selinux_user, "system_u", e) < 0 ||
        add_label_part(&label, s->selinux_role, "system_r", e) < 0 ||
        add_label_part(&label, s->selinux_type, "container_t", e) < 0 ||
        add_label_part(&label, s->selinux_level, "s0", e) < 0)
        return -1;
    process->selinux_label = strbuf_take(&label);
    return 0;
}

/* ---- Devices, paths ------------------------------------------------------------------------- */

static int set_devices(container_spec_t *spec, const struct spec_input *in, struct err *e)
{
    const struct container_config *config = in->config;

    if (config->security.privileged) {
        if (device_plan_privileged(spec, e) < 0)
            return -1;
    } else {
        device_plan_default(spec);
    }
    for (size_t i = 0; i < config->n_devices; i++) {
        const struct device_config *d = &config->devices[i];
        const char *path = str_empty(d->container_path) ? d->host_path : d->container_path;
        if (str_empty(d->host_path))
            return err_set(e, ERR_INVALID_ARGUMENT, "device %s: its path on the node is missing",
                           path ? path : "");
        _cleanup_free_ char *target = container_path_normalise("device", path, e);
        if (!target || device_plan_add(spec, d->host_path, target,
                                       str_empty(d->permissions) ? "rwm" : d->permissions, e) < 0)
            return -1;
    }
    return 0;
}

static int add_paths(char ***list, size_t *n, char *const *paths, struct err *e)
{
    for (size_t i = 0; i < strv_len(paths); i++) {
        _cleanup_free_ char *path =
            container_path_normalise("masked or read-only path", paths[i], e);
        if (!path)
            return -1;
        strings_push(list, n, path);
    }
    return 0;
}

int spec_set_security(struct plan *plan, const struct spec_input *in, struct err *e)
{
    const struct security_config *s = &in->config->security;
    container_spec_t *spec = plan->spec;

    if (s->privileged && !in->privileged_allowed)
        return err_set(
            e, ERR_FAILED_PRECONDITION,
            "no privileged container is allowed in this pod: the pod must be privileged");
    if (set_capabilities(spec->process, s, e) < 0 || set_seccomp(spec->process, in, e) < 0 ||
        set_apparmor(spec->process, in, e) < 0 || set_selinux(spec->process, in, e) < 0 ||
        set_devices(spec, in, e) < 0)
        return -1;
    if (s->privileged)
        return 0;
    if (add_paths(&spec->masked_paths, &spec->n_masked_paths, s->masked_paths, e) < 0)
        return -1;
    return add_paths(&spec->readonly_paths, &spec->n_readonly_paths, s->readonly_paths, e);
}
