/*
 * manifest_pod.c - the tables of a pod's fields (core/v1 Pod, PodSpec). What belongs to a cluster
 * (scheduling, service accounts) is refused with the reason.
 */
#include "manifest.h"
#include "names.h"

#define NO_SCHEDULER "podd is one node, nothing is scheduled"
#define NO_WINDOWS "podd runs Linux containers only"

extern const struct object_type apparmor_type_of, seccomp_type_of;

static const char *const restart_words[] = {"Always", "OnFailure", "Never", NULL};
static const char *const dns_words[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default",
                                        "None", NULL};
static const char *const groups_words[] = {"Merge", "Strict", NULL};

/* ---- metadata ----------------------------------------------------------------------------------
 */

#define S pod_metadata
static const struct field metadata_fields[] = {
    ROW("annotations", FIELD_PAIRS, annotations, .check_key = name_check_label_key),
    IGNORED("creationTimestamp"),
    REFUSED("deletionGracePeriodSeconds", "pods are deleted by podctl delete"),
    REFUSED("deletionTimestamp", "pods are deleted by podctl delete"),
    REFUSED("finalizers", "podd has no controllers that could remove them"),
    REFUSED("generateName", "a declared pod needs a name of its own"),
    IGNORED("generation"),
    ROW("labels", FIELD_PAIRS, labels, .check = name_check_label_value,
        .check_key = name_check_label_key),
    IGNORED("managedFields"),
    STRING("name", name, REQUIRED, .check = name_check_dns_subdomain),
    STRING("namespace", namespace_, .check = name_check_dns_label),
    REFUSED("ownerReferences", "podd has no objects that own pods"),
    IGNORED("resourceVersion"),
    IGNORED("selfLink"),
    IGNORED("uid"),
};
const struct object_type metadata_type = TYPE_OF(metadata_fields);
#undef S

/* ---- names and addresses -----------------------------------------------------------------------
 */

#define S dns_option
static const struct field dns_option_fields[] = {
    STRING("name", name, REQUIRED, .check = name_check_not_empty),
    STRING("value", value),
};
static const struct object_type dns_option_type = TYPE_OF(dns_option_fields);
#undef S

#define S dns_config
static const struct field dns_config_fields[] = {
    STRINGS("nameservers", nameservers, .check = name_check_ip),
    LIST("options", options, dns_option_type),
    STRINGS("searches", searches, .check = name_check_not_empty),
};
static const struct object_type dns_config_type = TYPE_OF(dns_config_fields);
#undef S

#define S host_alias
static const struct field host_alias_fields[] = {
    STRINGS("hostnames", hostnames, .check = name_check_dns_subdomain),
    STRING("ip", ip, REQUIRED, .check = name_check_ip),
};
static const struct object_type host_alias_type = TYPE_OF(host_alias_fields);
#undef S

/* ---- securityContext ---------------------------------------------------------------------------
 */

#define S manifest_sysctl
static const struct field sysctl_fields[] = {
    STRING("name", name, REQUIRED, .check = name_check_not_empty),
    STRING("value", value, REQUIRED),
};
static const struct object_type sysctl_type = TYPE_OF(sysctl_fields);
#undef S

#define S pod_security
static const struct field pod_security_fields[] = {
    OBJECT("appArmorProfile", apparmor, apparmor_type_of),
    INT("fsGroup", fs_group, 0, INT32_MAX),
    ONLY("fsGroupChangePolicy", "Always", "podd sets the group of a volume when it makes it"),
    INT("runAsGroup", group, 0, INT32_MAX),
    BOOL("runAsNonRoot", non_root),
    INT("runAsUser", user, 0, INT32_MAX),
    REFUSED("seLinuxChangePolicy", "podd does not choose SELinux labels for declared pods yet"),
    REFUSED("seLinuxOptions", "podd does not choose SELinux labels for declared pods yet"),
    OBJECT("seccompProfile", seccomp, seccomp_type_of),
    ROW("supplementalGroups", FIELD_INTS, groups, .min = 0, .max = INT32_MAX),
    ENUM("supplementalGroupsPolicy", groups_policy, groups_words),
    LIST("sysctls", sysctls, sysctl_type),
    REFUSED("windowsOptions", NO_WINDOWS),
};
static const struct object_type pod_security_type = TYPE_OF(pod_security_fields);
#undef S

/* ---- os ----------------------------------------------------------------------------------------
 */

#define S pod_os
static const struct field os_fields[] = {
    ONLY("name", "linux", NO_WINDOWS),
};
static const struct object_type os_type = TYPE_OF(os_fields);
#undef S

/* ---- spec --------------------------------------------------------------------------------------
 */

#define S pod_spec
static const struct field spec_fields[] = {
    INT("activeDeadlineSeconds", active_deadline, 1, INT32_MAX),
    REFUSED("affinity", NO_SCHEDULER),
    ONLY("automountServiceAccountToken", "false", "podd has no service accounts"),
    LIST("containers", containers, container_type, REQUIRED),
    OBJECT("dnsConfig", dns, dns_config_type),
    ENUM("dnsPolicy", dns_policy, dns_words),
    ONLY("enableServiceLinks", "false", "podd has no services"),
    REFUSED("ephemeralContainers", "they are added to a running pod, by podctl debug"),
    LIST("hostAliases", host_aliases, host_alias_type),
    BOOL("hostIPC", host_ipc),
    BOOL("hostNetwork", host_network),
    BOOL("hostPID", host_pid),
    BOOL("hostUsers", host_users),
    STRING("hostname", hostname, .check = name_check_dns_label),
    REFUSED("hostnameOverride", "use hostname"),
    REFUSED("imagePullSecrets", "podd takes credentials from auth_file in podd.yaml"),
    LIST("initContainers", init_containers, init_container_type),
    REFUSED("nodeName", NO_SCHEDULER),
    REFUSED("nodeSelector", NO_SCHEDULER),
    OBJECT("os", os, os_type),
    REFUSED("overhead", NO_SCHEDULER),
    REFUSED("preemptionPolicy", NO_SCHEDULER),
    REFUSED("priority", NO_SCHEDULER),
    REFUSED("priorityClassName", NO_SCHEDULER),
    REFUSED("readinessGates", "podd has no controllers that could pass them"),
    REFUSED("resourceClaims", "podd has no dynamic resource allocation"),
    REFUSED("resources", "podd limits containers, not pods"),
    ENUM("restartPolicy", restart, restart_words),
    REFUSED("runtimeClassName", "podd is the only runtime"),
    REFUSED("schedulerName", NO_SCHEDULER),
    REFUSED("schedulingGates", NO_SCHEDULER),
    REFUSED("schedulingGroup", NO_SCHEDULER),
    OBJECT("securityContext", security, pod_security_type),
    REFUSED("serviceAccount", "podd has no service accounts"),
    REFUSED("serviceAccountName", "podd has no service accounts"),
    ONLY("setHostnameAsFQDN", "false", "podd's pods have no domain"),
    BOOL("shareProcessNamespace", share_pid),
    REFUSED("subdomain", "podd's pods have no domain"),
    INT("terminationGracePeriodSeconds", grace, 0, INT32_MAX),
    REFUSED("tolerations", NO_SCHEDULER),
    REFUSED("topologySpreadConstraints", NO_SCHEDULER),
    LIST("volumes", volumes, volume_type),
    REFUSED("workloadRef", NO_SCHEDULER),
};
static const struct object_type spec_type = TYPE_OF(spec_fields);
#undef S

#define S pod_manifest
static const struct field pod_fields[] = {
    IGNORED("apiVersion"), /* looked at before the table is chosen */
    IGNORED("kind"),
    OBJECT("metadata", metadata, metadata_type, REQUIRED),
    OBJECT("spec", spec, spec_type, REQUIRED),
    IGNORED("status"),
};
const struct object_type pod_type = TYPE_OF(pod_fields);
