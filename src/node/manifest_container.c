/*
 * manifest_container.c - the tables of a container's fields (core/v1 Container).
 */
#include "manifest.h"
#include "names.h"

#define NO_WINDOWS "podd runs Linux containers only"

static const char *const pull_words[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const protocol_words[] = {"TCP", "UDP", "SCTP", NULL};
static const char *const propagation_words[] = {"None", "HostToContainer", "Bidirectional", NULL};
static const char *const profile_words[] = {"RuntimeDefault", "Unconfined", "Localhost", NULL};
static const char *const recursive_words[] = {"Disabled", "IfPossible", "Enabled", NULL};
static const char *const scheme_words[] = {"HTTP", "HTTPS", NULL};
static const char *const message_words[] = {"File", "FallbackToLogsOnError", NULL};
static const char *const proc_words[] = {"Default", "Unmasked", NULL};
static const char *const sidecar_words[] = {"Always", NULL};

/* ---- env ---------------------------------------------------------------------------------------
 */

#define S field_ref
static const struct field field_ref_fields[] = {
    ONLY("apiVersion", "v1", "that is the only version there is"),
    STRING("fieldPath", path, REQUIRED, .check = name_check_not_empty),
};
const struct object_type field_ref_type = TYPE_OF(field_ref_fields);
#undef S

#define S resource_ref
static const struct field resource_ref_fields[] = {
    STRING("containerName", container),
    QUANTITY("divisor", divisor),
    STRING("resource", resource, REQUIRED, .check = name_check_not_empty),
};
const struct object_type resource_ref_type = TYPE_OF(resource_ref_fields);
#undef S

#define S key_ref
static const struct field key_ref_fields[] = {
    STRING("key", key, REQUIRED, .check = name_check_data_key),
    STRING("name", name, REQUIRED, .check = name_check_dns_subdomain),
    BOOL("optional", optional),
};
static const struct object_type key_ref_type = TYPE_OF(key_ref_fields);
#undef S

#define S object_ref
static const struct field object_ref_fields[] = {
    STRING("name", name, REQUIRED, .check = name_check_dns_subdomain),
    BOOL("optional", optional),
};
static const struct object_type object_ref_type = TYPE_OF(object_ref_fields);
#undef S

#define S env_source
static const struct field env_source_fields[] = {
    OBJECT("fieldRef", field, field_ref_type),
    OBJECT("resourceFieldRef", resource, resource_ref_type),
    OBJECT("configMapKeyRef", config_map, key_ref_type),
    OBJECT("secretKeyRef", secret, key_ref_type),
    REFUSED("fileKeyRef", "podd does not read environments from files of a volume"),
};
static const struct object_type env_source_type = TYPE_OF(env_source_fields);
#undef S

#define S manifest_env
static const struct field env_fields[] = {
    STRING("name", name, REQUIRED, .check = name_check_env_name),
    STRING("value", value),
    OBJECT("valueFrom", from, env_source_type),
};
static const struct object_type env_type = TYPE_OF(env_fields);
#undef S

static const char *check_prefix(const char *s)
{
    return *s ? name_check_env_name(s) : NULL;
}

static int finish_env_from(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct manifest_env_from *from = object;

    if ((from->config_map != NULL) + (from->secret != NULL) == 1)
        return 0;
    return decode_fail(d, node, "%s must have exactly one of configMapRef and secretRef",
                       decode_path(d));
}

#define S manifest_env_from
static const struct field env_from_fields[] = {
    OBJECT("configMapRef", config_map, object_ref_type),
    STRING("prefix", prefix, .check = check_prefix),
    OBJECT("secretRef", secret, object_ref_type),
};
static const struct object_type env_from_type = TYPE_OF(env_from_fields, .finish = finish_env_from);
#undef S

/* ---- ports, resources, mounts ------------------------------------------------------------------
 */

#define S manifest_port
static const struct field port_fields[] = {
    INT("containerPort", container_port, 1, 65535, REQUIRED),
    STRING("hostIP", host_ip, .check = name_check_ip),
    INT("hostPort", host_port, 0, 65535),
    STRING("name", name, .check = name_check_port_name),
    ENUM("protocol", protocol, protocol_words),
};
static const struct object_type port_type = TYPE_OF(port_fields);
#undef S

#define S resource_list
static const struct field resource_list_fields[] = {
    QUANTITY("cpu", cpu),
    QUANTITY("memory", memory),
    QUANTITY("ephemeral-storage", storage),
    REFUSED("hugepages-2Mi", "podd does not hand out huge pages to declared pods yet"),
    REFUSED("hugepages-1Gi", "podd does not hand out huge pages to declared pods yet"),
};
static const struct object_type resource_list_type = TYPE_OF(resource_list_fields);
#undef S

#define S manifest_resources
static const struct field resources_fields[] = {
    OBJECT("limits", limits, resource_list_type),
    OBJECT("requests", requests, resource_list_type),
    REFUSED("claims", "podd has no dynamic resource allocation"),
};
static const struct object_type resources_type = TYPE_OF(resources_fields);
#undef S

static int finish_mount(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct manifest_mount *m = object;

    if (m->sub_path && m->sub_path_expr)
        return decode_fail(d, node, "%s has both subPath and subPathExpr", decode_path(d));
    if (m->recursive_readonly <= RECURSIVE_DISABLED)
        return 0;
    if (!m->readonly.value)
        return decode_fail(d, node, "%s.recursiveReadOnly needs readOnly: true", decode_path(d));
    if (m->propagation > PROPAGATION_NONE)
        return decode_fail(d, node, "%s.recursiveReadOnly needs mountPropagation None",
                           decode_path(d));
    return 0;
}

#define S manifest_mount
static const struct field mount_fields[] = {
    STRING("mountPath", path, REQUIRED, .check = name_check_absolute_path),
    ENUM("mountPropagation", propagation, propagation_words),
    STRING("name", name, REQUIRED, .check = name_check_dns_label),
    BOOL("readOnly", readonly),
    ENUM("recursiveReadOnly", recursive_readonly, recursive_words),
    STRING("subPath", sub_path, .check = name_check_relative_path),
    STRING("subPathExpr", sub_path_expr, .check = name_check_relative_path),
};
static const struct object_type mount_type = TYPE_OF(mount_fields, .finish = finish_mount);
#undef S

/* ---- securityContext ---------------------------------------------------------------------------
 */

static int finish_profile(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct manifest_profile *p = object;

    if (p->type == MANIFEST_PROFILE_LOCALHOST && !p->localhost)
        return decode_fail(d, node, "missing field %s.localhostProfile", decode_path(d));
    if (p->type != MANIFEST_PROFILE_LOCALHOST && p->localhost)
        return decode_fail(d, node, "%s.localhostProfile needs type Localhost", decode_path(d));
    return 0;
}

#define S manifest_profile
static const struct field seccomp_fields[] = {
    STRING("localhostProfile", localhost, .check = name_check_absolute_path),
    ROW("type", FIELD_ENUM, type, .values = profile_words, REQUIRED),
};
const struct object_type seccomp_type_of = TYPE_OF(seccomp_fields, .finish = finish_profile);

static const struct field apparmor_fields[] = {
    STRING("localhostProfile", localhost, .check = name_check_not_empty),
    ROW("type", FIELD_ENUM, type, .values = profile_words, REQUIRED),
};
const struct object_type apparmor_type_of = TYPE_OF(apparmor_fields, .finish = finish_profile);
#undef S

#define S manifest_capabilities
static const struct field capabilities_fields[] = {
    STRINGS("add", add, .check = name_check_not_empty),
    STRINGS("drop", drop, .check = name_check_not_empty),
};
static const struct object_type capabilities_type = TYPE_OF(capabilities_fields);
#undef S

static int finish_security(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct container_security *s = object;

    if (s->privileged.value && s->escalation.set && !s->escalation.value)
        return decode_fail(d, node,
                           "%s: allowPrivilegeEscalation cannot be false in a privileged container",
                           decode_path(d));
    return 0;
}

#define S container_security
static const struct field security_fields[] = {
    BOOL("allowPrivilegeEscalation", escalation),
    OBJECT("appArmorProfile", apparmor, apparmor_type_of),
    OBJECT("capabilities", capabilities, capabilities_type),
    BOOL("privileged", privileged),
    ENUM("procMount", proc_mount, proc_words),
    BOOL("readOnlyRootFilesystem", readonly_root),
    INT("runAsGroup", group, 0, INT32_MAX),
    BOOL("runAsNonRoot", non_root),
    INT("runAsUser", user, 0, INT32_MAX),
    REFUSED("seLinuxOptions", "podd does not choose SELinux labels for declared pods yet"),
    OBJECT("seccompProfile", seccomp, seccomp_type_of),
    REFUSED("windowsOptions", NO_WINDOWS),
};
static const struct object_type security_type = TYPE_OF(security_fields, .finish = finish_security);
#undef S

/* ---- Probes ------------------------------------------------------------------------------------
 */

#define S probe_exec
static const struct field exec_fields[] = {
    STRINGS("command", command, REQUIRED),
};
static const struct object_type exec_type = TYPE_OF(exec_fields);
#undef S

#define S probe_header
static const struct field header_fields[] = {
    STRING("name", name, REQUIRED, .check = name_check_not_empty),
    STRING("value", value, REQUIRED),
};
static const struct object_type header_type = TYPE_OF(header_fields);
#undef S

#define S probe_http
static const struct field http_fields[] = {
    STRING("host", host),
    LIST("httpHeaders", headers, header_type),
    STRING("path", path),
    ROW("port", FIELD_PORT, port, REQUIRED, .check = name_check_port_name),
    ENUM("scheme", scheme, scheme_words),
};
static const struct object_type http_type = TYPE_OF(http_fields);
#undef S

#define S probe_tcp
static const struct field tcp_fields[] = {
    STRING("host", host),
    ROW("port", FIELD_PORT, port, REQUIRED, .check = name_check_port_name),
};
static const struct object_type tcp_type = TYPE_OF(tcp_fields);
#undef S

#define S probe_grpc
static const struct field grpc_fields[] = {
    INT("port", port, 1, UINT16_MAX, REQUIRED),
    STRING("service", service),
};
static const struct object_type grpc_type = TYPE_OF(grpc_fields);
#undef S

static int finish_probe(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct manifest_probe *p = object;

    if ((p->exec != NULL) + (p->grpc != NULL) + (p->http != NULL) + (p->tcp != NULL) != 1)
        return decode_fail(d, node, "%s must have exactly one of exec, grpc, httpGet and tcpSocket",
                           decode_path(d));
    return 0;
}

#define S manifest_probe
static const struct field probe_fields[] = {
    OBJECT("exec", exec, exec_type),
    INT("failureThreshold", failure_threshold, 1, INT32_MAX),
    OBJECT("grpc", grpc, grpc_type),
    OBJECT("httpGet", http, http_type),
    INT("initialDelaySeconds", initial_delay, 0, INT32_MAX),
    INT("periodSeconds", period, 1, INT32_MAX),
    INT("successThreshold", success_threshold, 1, INT32_MAX),
    OBJECT("tcpSocket", tcp, tcp_type),
    INT("terminationGracePeriodSeconds", grace, 1, INT32_MAX),
    INT("timeoutSeconds", timeout, 1, INT32_MAX),
};
static const struct object_type probe_type = TYPE_OF(probe_fields, .finish = finish_probe);
#undef S

/* ---- Hooks -------------------------------------------------------------------------------------
 */

#define S hook_sleep
static const struct field sleep_fields[] = {
    INT("seconds", seconds, 0, INT32_MAX, REQUIRED),
};
static const struct object_type sleep_type = TYPE_OF(sleep_fields);
#undef S

static int finish_hook(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct manifest_hook *h = object;

    if ((h->exec != NULL) + (h->http != NULL) + (h->sleep != NULL) != 1)
        return decode_fail(d, node, "%s must have exactly one of exec, httpGet and sleep",
                           decode_path(d));
    return 0;
}

#define S manifest_hook
static const struct field hook_fields[] = {
    OBJECT("exec", exec, exec_type),
    OBJECT("httpGet", http, http_type),
    OBJECT("sleep", sleep, sleep_type),
    REFUSED("tcpSocket", "as a hook it does nothing in Kubernetes either"),
};
static const struct object_type hook_type = TYPE_OF(hook_fields, .finish = finish_hook);
#undef S

#define S manifest_lifecycle
static const struct field lifecycle_fields[] = {
    OBJECT("postStart", post_start, hook_type),
    OBJECT("preStop", pre_stop, hook_type),
    REFUSED("stopSignal", "podd takes the stop signal from the image"),
};
static const struct object_type lifecycle_type = TYPE_OF(lifecycle_fields);
#undef S

/* ---- The container -----------------------------------------------------------------------------
 */

#define NO_PROBES "an ephemeral container is there for a person, and has no probes"
#define NO_LIMITS "an ephemeral container uses what the pod has"

/* What every container has; a macro, for a table cannot be made of two. */
#define S manifest_container
#define COMMON_FIELDS                                                                              \
    STRINGS("args", args), STRINGS("command", command), LIST("env", env, env_type),                \
        LIST("envFrom", env_from, env_from_type),                                                  \
        STRING("image", image, REQUIRED, .check = name_check_image),                               \
        ENUM("imagePullPolicy", pull, pull_words),                                                 \
        STRING("name", name, REQUIRED, .check = name_check_dns_label),                             \
        OBJECT("securityContext", security, security_type), BOOL("stdin", stdin_open),             \
        BOOL("stdinOnce", stdin_once),                                                             \
        STRING("terminationMessagePath", termination_path, .check = name_check_absolute_path),     \
        ENUM("terminationMessagePolicy", termination_policy, message_words), BOOL("tty", tty),     \
        REFUSED("volumeDevices", "podd has no block volumes"),                                     \
        LIST("volumeMounts", mounts, mount_type), STRING("workingDir", working_dir)
/* What those of the manifest have besides. */
#define DECLARED_FIELDS                                                                            \
    OBJECT("lifecycle", lifecycle, lifecycle_type), OBJECT("livenessProbe", liveness, probe_type), \
        LIST("ports", ports, port_type), OBJECT("readinessProbe", readiness, probe_type),          \
        REFUSED("resizePolicy", "podd does not resize running containers of declared pods yet"),   \
        OBJECT("resources", resources, resources_type),                                            \
        REFUSED("restartPolicyRules", "podd restarts by the policy alone"),                        \
        OBJECT("startupProbe", startup, probe_type)

static const struct field container_fields[] = {
    COMMON_FIELDS,
    DECLARED_FIELDS,
    REFUSED("restartPolicy", "only the pod and its init containers can have one"),
};
const struct object_type container_type = TYPE_OF(container_fields);

static const struct field init_container_fields[] = {
    COMMON_FIELDS,
    DECLARED_FIELDS,
    ENUM("restartPolicy", restart, sidecar_words),
};
const struct object_type init_container_type = TYPE_OF(init_container_fields);

static const struct field ephemeral_container_fields[] = {
    COMMON_FIELDS,
    REFUSED("lifecycle", "an ephemeral container has no hooks"),
    REFUSED("livenessProbe", NO_PROBES),
    REFUSED("ports", "an ephemeral container publishes none"),
    REFUSED("readinessProbe", NO_PROBES),
    REFUSED("resizePolicy", NO_LIMITS),
    REFUSED("resources", NO_LIMITS),
    REFUSED("restartPolicy", "an ephemeral container is started once"),
    REFUSED("restartPolicyRules", "an ephemeral container is started once"),
    REFUSED("startupProbe", NO_PROBES),
    STRING("targetContainerName", target, .check = name_check_dns_label),
};
const struct object_type ephemeral_container_type = TYPE_OF(ephemeral_container_fields);
