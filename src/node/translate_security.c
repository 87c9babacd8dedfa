/*
 * translate_security.c - whom a container runs as, and with which rights. The container's own
 * settings win over the pod's. What nobody set is as kubelet has it, but for seccomp: podd applies
 * its default profile unless the manifest says Unconfined.
 */
#include "apparmor_annotation.h"
#include "translate.h"

static const char *const masked_paths[] = {
    "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
    "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* ---- Paths -------------------------------------------------------------------------------------
 */

static void plan_paths(struct container_plan *p, const struct container_security *s)
{
    char **masked = NULL, **readonly = NULL;

    if (s && (s->privileged.value || s->proc_mount == PROC_MOUNT_UNMASKED))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(masked_paths); i++)
        strv_push(&masked, masked_paths[i]);
    for (long cpu = 0, cpus = sysconf(_SC_NPROCESSORS_CONF); cpu < cpus; cpu++) {
        _cleanup_free_ char *path =
            xasprintf("/sys/devices/system/cpu/cpu%ld/thermal_throttle", cpu);
        strv_push(&masked, path);
    }
    for (size_t i = 0; i < ARRAY_SIZE(readonly_paths); i++)
        strv_push(&readonly, readonly_paths[i]);
    p->config.security.masked_paths = keep_strv(&p->keep, masked);
    p->config.security.readonly_paths = keep_strv(&p->keep, readonly);
}

/* ---- Profiles ----------------------------------------------------------------------------------
 */

static void plan_seccomp(struct security_config *to, const struct container_security *own,
                         const struct pod_security *pod)
{
    const struct manifest_profile *profile = own && own->seccomp   ? own->seccomp
                                             : pod && pod->seccomp ? pod->seccomp
                                                                   : NULL;

    switch (profile ? (enum manifest_profile_type)profile->type : MANIFEST_PROFILE_UNSET) {
    case MANIFEST_PROFILE_UNSET:
    case MANIFEST_PROFILE_RUNTIME_DEFAULT:
        to->seccomp.type = to->privileged ? PROFILE_UNCONFINED : PROFILE_RUNTIME_DEFAULT;
        break;
    case MANIFEST_PROFILE_UNCONFINED:
        to->seccomp.type = PROFILE_UNCONFINED;
        break;
    case MANIFEST_PROFILE_LOCALHOST:
        to->seccomp.type = PROFILE_LOCALHOST;
        to->seccomp.localhost_ref = profile->localhost;
        break;
    }
}

/* Nothing said is the zero value: the default profile where there is one. */
static void plan_apparmor(struct security_config *to, const struct manifest_container *c,
                          const struct pod_manifest *m)
{
    const struct pod_security *pod = m->spec->security;
    const struct manifest_profile *profile = pod ? pod->apparmor : NULL;
    struct manifest_profile annotated;

    if (c->security && c->security->apparmor)
        profile = c->security->apparmor;
    else if (apparmor_annotation_find(&m->metadata->annotations, c->name, &annotated))
        profile = &annotated;

    to->apparmor.asked = profile != NULL;
    switch (profile ? (enum manifest_profile_type)profile->type : MANIFEST_PROFILE_UNSET) {
    case MANIFEST_PROFILE_UNSET:
    case MANIFEST_PROFILE_RUNTIME_DEFAULT:
        to->apparmor.type = PROFILE_RUNTIME_DEFAULT;
        break;
    case MANIFEST_PROFILE_UNCONFINED:
        to->apparmor.type = PROFILE_UNCONFINED;
        break;
    case MANIFEST_PROFILE_LOCALHOST:
        to->apparmor.type = PROFILE_LOCALHOST;
        to->apparmor.localhost_ref = profile->localhost;
        break;
    }
}

/* ---- Users and groups --------------------------------------------------------------------------
 */

static bool is_number(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return len > 0;
}

/* The image's user, without its group, where the manifest sets only a group. */
static void plan_image_user(struct container_plan *p, const char *image_user)
{
    struct security_config *to = &p->config.security;
    size_t len = image_user ? strcspn(image_user, ":") : 0;
    _cleanup_free_ char *name = xstrndup(image_user ? image_user : "", len);
    uint64_t uid = 0;

    if (len == 0 || parse_uint(name, UINT32_MAX, &uid) == 0) {
        to->has_run_as_user = true;
        to->run_as_user = (uint32_t)uid;
    } else {
        to->run_as_username = keep_printf(&p->keep, "%s", name);
    }
}

static int check_non_root(const struct security_config *to, const char *image_user, struct err *e)
{
    size_t len = image_user ? strcspn(image_user, ":") : 0;
    uint64_t uid = 0;

    if (to->has_run_as_user) {
        if (to->run_as_user != 0)
            return 0;
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "runAsNonRoot is set, and the container would run as user 0");
    }
    if (len > 0 && !is_number(image_user, len))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "runAsNonRoot is set, and the image's user is the name %.*s, which may be "
                       "root; set runAsUser",
                       (int)len, image_user);
    _cleanup_free_ char *digits = xstrndup(image_user ? image_user : "", len);
    if (len > 0 && parse_uint(digits, UINT32_MAX, &uid) == 0 && uid != 0)
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION,
                   "runAsNonRoot is set, and the image runs as root; set runAsUser");
}

static void plan_groups(struct container_plan *p, const struct pod_security *pod)
{
    struct security_config *to = &p->config.security;

    if (!pod)
        return;
    uint32_t *groups = keep_alloc(&p->keep, pod->groups.count + 1, sizeof(*groups));
    for (size_t i = 0; i < pod->groups.count; i++)
        groups[to->n_supplemental_groups++] = (uint32_t)pod->groups.items[i];
    if (pod->fs_group.set)
        groups[to->n_supplemental_groups++] = (uint32_t)pod->fs_group.value;
    to->supplemental_groups = groups;
    to->groups_strict = pod->groups_policy == GROUPS_STRICT;
}

static int plan_user(struct container_plan *p, const struct container_security *own,
                     const struct pod_security *pod, const char *image_user, struct err *e)
{
    struct security_config *to = &p->config.security;
    const struct opt_int *user = own && own->user.set ? &own->user : pod ? &pod->user : NULL;
    const struct opt_int *group = own && own->group.set ? &own->group : pod ? &pod->group : NULL;
    const struct opt_bool *non_root = own && own->non_root.set ? &own->non_root
                                      : pod                    ? &pod->non_root
                                                               : NULL;

    if (user && user->set) {
        to->has_run_as_user = true;
        to->run_as_user = (uint32_t)user->value;
    }
    if (non_root && non_root->value && check_non_root(to, image_user, e) < 0)
        return -1;
    if (group && group->set) {
        to->has_run_as_group = true;
        to->run_as_group = (uint32_t)group->value;
        if (!to->has_run_as_user)
            plan_image_user(p, image_user);
    }
    plan_groups(p, pod);
    return 0;
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

int security_plan(const struct manifest_container *c, const struct container_place *place,
                  struct container_plan *ret, struct err *e)
{
    const struct pod_spec *spec = place->manifest->spec;
    const struct container_security *own = c->security;
    struct security_config *to = &ret->config.security;

    to->pid = spec->host_pid.value    ? NAMESPACE_NODE
              : spec->share_pid.value ? NAMESPACE_POD
                                      : NAMESPACE_CONTAINER;
    if (place->pid_target) {
        to->pid = NAMESPACE_TARGET;
        to->pid_target = keep_printf(&ret->keep, "%s", place->pid_target);
    }
    if (own) {
        to->privileged = own->privileged.value;
        to->no_new_privs = own->escalation.set && !own->escalation.value;
        to->readonly_rootfs = own->readonly_root.value;
        if (own->capabilities) {
            to->add_capabilities = own->capabilities->add;
            to->drop_capabilities = own->capabilities->drop;
        }
    }
    plan_paths(ret, own);
    plan_seccomp(to, own, spec->security);
    plan_apparmor(to, c, place->manifest);
    return plan_user(ret, own, spec->security, place->image_user, e);
}
