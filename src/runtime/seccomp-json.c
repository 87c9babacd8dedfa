/*
 * Seccomp profiles in JSON, as the OCI runtime specification and Docker have them:
 *
 *   { "defaultAction", "defaultErrnoRet", "architectures", "archMap", "flags",
 *     "syscalls": [ { "names" | "name", "action", "errnoRet",
 *                     "args": [ { "index", "value", "valueTwo", "op" } ],
 *                     "includes" | "excludes": { "caps", "arches", "minKernel" } } ] }
 *
 * A profile that is broken anywhere is refused as a whole, with the place: a filter that is not
 * what was asked must never be loaded. Only names of system calls that this libseccomp does not
 * know are passed over, since profiles name those of all machines and times.
 */
#include "json-value.h"
#include "seccomp-filter.h"

#include <inttypes.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/utsname.h>

enum { PROFILE_MAX = 1 << 20, ARGS_MAX = 6 };

struct profile {
    struct seccomp_table table;
    uint64_t caps;
};

static int action_parse(const char *name, uint64_t errnum, const char *where, uint32_t *ret,
                        struct err *e)
{
    static const struct {
        const char *name;
        uint32_t action;
    } actions[] = {
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    };
    if (!name)
        return json_invalid(e, where, "has no action");
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (str_equal(name, actions[i].name)) {
            *ret = actions[i].action;
            return 0;
        }
    if (errnum > 4095)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: %" PRIu64 " is not an errno", where, errnum);
    if (str_equal(name, "SCMP_ACT_ERRNO"))
        *ret = SCMP_ACT_ERRNO((uint32_t)errnum);
    else if (str_equal(name, "SCMP_ACT_TRACE"))
        *ret = SCMP_ACT_TRACE((uint32_t)errnum);
    else if (str_equal(name, "SCMP_ACT_NOTIFY"))
        return json_invalid(e, where, "SCMP_ACT_NOTIFY is not supported");
    else
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: action \"%s\" is unknown", where, name);
    return 0;
}

static int compare_parse(const char *name, const char *where, enum scmp_compare *ret, struct err *e)
{
    static const struct {
        const char *name;
        enum scmp_compare op;
    } ops[] = {
        {"SCMP_CMP_NE", SCMP_CMP_NE},
        {"SCMP_CMP_LT", SCMP_CMP_LT},
        {"SCMP_CMP_LE", SCMP_CMP_LE},
        {"SCMP_CMP_EQ", SCMP_CMP_EQ},
        {"SCMP_CMP_GE", SCMP_CMP_GE},
        {"SCMP_CMP_GT", SCMP_CMP_GT},
        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    };
    for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++)
        if (str_equal(name, ops[i].name)) {
            *ret = ops[i].op;
            return 0;
        }
    return err_set(e, ERR_INVALID_ARGUMENT, "%s: comparison \"%s\" is unknown", where,
                   name ? name : "");
}

/* ---- Architectures --------------------------------------------------------------------------- */

/* SCMP_ARCH_X86_64 -> x86_64, as libseccomp names them. */
static int arch_add(struct profile *p, const char *name, const char *where, struct err *e)
{
    char text[32];
    if (!str_starts_with(name, "SCMP_ARCH_") || strlen(name) >= sizeof(text))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: architecture \"%s\" is unknown", where, name);
    const char *bare = name + strlen("SCMP_ARCH_");
    for (size_t i = 0; i <= strlen(bare); i++)
        text[i] = (char)(bare[i] >= 'A' && bare[i] <= 'Z' ? bare[i] + 'a' - 'A' : bare[i]);
    uint32_t arch = seccomp_arch_resolve_name(text);
    if (!arch)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: architecture \"%s\" is unknown", where, name);
    return seccomp_table_add_arch(&p->table, arch, e);
}

static int archs_add(struct profile *p, json_t *names, const char *where, struct err *e)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name;
        if (json_element_text(names, i, where, &name, e) < 0 || arch_add(p, name, where, e) < 0)
            return -1;
    }
    return 0;
}

static const char *native_scmp_name(void)
{
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        return "SCMP_ARCH_X86_64";
    case SCMP_ARCH_AARCH64:
        return "SCMP_ARCH_AARCH64";
    case SCMP_ARCH_RISCV64:
        return "SCMP_ARCH_RISCV64";
    case SCMP_ARCH_PPC64LE:
        return "SCMP_ARCH_PPC64LE";
    case SCMP_ARCH_S390X:
        return "SCMP_ARCH_S390X";
    default:
        return "";
    }
}

/* Docker's list: for each architecture the others that may run beside it. */
static int arch_map_add(struct profile *p, json_t *map, struct err *e)
{
    for (size_t i = 0; i < json_array_size(map); i++) {
        char where[32];
        snprintf(where, sizeof(where), "archMap[%zu]", i);
        json_t *entry = json_array_get(map, i), *others;
        const char *name;
        if (!json_is_object(entry))
            return json_invalid(e, where, "is not an object");
        if (json_text_get(entry, "architecture", where, &name, e) < 0 ||
            json_array_get_opt(entry, "subArchitectures", where, &others, e) < 0)
            return -1;
        if (name && str_equal(name, native_scmp_name()) && archs_add(p, others, where, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- Conditions of a rule -------------------------------------------------------------------- */

/* The names of Go, which these profiles use. */
static const char *native_go_name(void)
{
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        return "amd64";
    case SCMP_ARCH_AARCH64:
        return "arm64";
    case SCMP_ARCH_RISCV64:
        return "riscv64";
    case SCMP_ARCH_PPC64LE:
        return "ppc64le";
    case SCMP_ARCH_S390X:
        return "s390x";
    default:
        return "";
    }
}

static int kernel_reached(const char *wanted, const char *where, bool *ret, struct err *e)
{
    struct utsname name;
    int a, b, have_a = 0, have_b = 0;
    char rest;
    if (sscanf(wanted, "%d.%d%c", &a, &b, &rest) != 2)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: minKernel \"%s\" is not a version", where,
                       wanted);
    *ret = uname(&name) == 0 && sscanf(name.release, "%d.%d", &have_a, &have_b) == 2 &&
           (have_a > a || (have_a == a && have_b >= b));
    return 0;
}

/* How many of the listed capabilities the container has. */
static int caps_count(json_t *names, uint64_t caps, const char *where, size_t *ret, struct err *e)
{
    *ret = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name;
        uint64_t mask;
        if (json_element_text(names, i, where, &name, e) < 0)
            return -1;
        if (capability_parse(name, &mask, e) < 0)
            return err_wrap(e, "%s", where);
        *ret += (caps & mask) != 0;
    }
    return 0;
}

static int arch_listed(json_t *names, const char *where, bool *ret, struct err *e)
{
    *ret = false;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name;
        if (json_element_text(names, i, where, &name, e) < 0)
            return -1;
        *ret |= str_equal(name, native_go_name());
    }
    return 0;
}

/* "includes": all of it must hold; "excludes": none of it may. */
static int condition_check(const struct profile *p, json_t *rule, const char *key, bool include,
                           const char *where, bool *ret, struct err *e)
{
    json_t *c = json_object_get(rule, key), *caps, *arches;
    const char *min_kernel;
    *ret = true;
    if (!c || json_is_null(c))
        return 0;
    if (!json_is_object(c))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: \"%s\" is not an object", where, key);
    if (json_array_get_opt(c, "caps", where, &caps, e) < 0 ||
        json_array_get_opt(c, "arches", where, &arches, e) < 0 ||
        json_text_get(c, "minKernel", where, &min_kernel, e) < 0)
        return -1;
    size_t have;
    bool arch, kernel = false;
    if (caps_count(caps, p->caps, where, &have, e) < 0 ||
        arch_listed(arches, where, &arch, e) < 0 ||
        (min_kernel && kernel_reached(min_kernel, where, &kernel, e) < 0))
        return -1;
    if (include)
        *ret = have == json_array_size(caps) && (arch || json_array_size(arches) == 0) &&
               (kernel || !min_kernel);
    else
        *ret = have == 0 && !arch && !kernel;
    return 0;
}

/* ---- Rules ----------------------------------------------------------------------------------- */

static int arg_parse(json_t *arg, const char *where, struct scmp_arg_cmp *ret, struct err *e)
{
    uint64_t index, value, value_two;
    const char *op;
    if (!json_is_object(arg))
        return json_invalid(e, where, "an argument is not an object");
    if (json_number_get(arg, "index", where, 0, &index, e) < 0 ||
        json_number_get(arg, "value", where, 0, &value, e) < 0 ||
        json_number_get(arg, "valueTwo", where, 0, &value_two, e) < 0 ||
        json_text_get(arg, "op", where, &op, e) < 0 || compare_parse(op, where, &ret->op, e) < 0)
        return -1;
    if (index >= ARGS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: system calls have no argument %" PRIu64, where,
                       index);
    ret->arg = (unsigned)index;
    ret->datum_a = value;
    ret->datum_b = value_two;
    return 0;
}

/* All comparisons must hold, unless two are of one argument, which no filter can say: then each is
 * a rule of its own, as other runtimes have it. */
static int rule_add(struct profile *p, uint32_t action, const char *name,
                    const struct scmp_arg_cmp *args, size_t n_args, struct err *e)
{
    if (!n_args) {
        seccomp_table_add(&p->table, name, action);
        return 0;
    }
    bool seen[ARGS_MAX] = {0}, repeated = false;
    for (size_t i = 0; i < n_args; i++) {
        repeated |= seen[args[i].arg];
        seen[args[i].arg] = true;
    }
    if (!repeated)
        return seccomp_table_add_args(&p->table, name, action, args, n_args, e);
    for (size_t i = 0; i < n_args; i++)
        if (seccomp_table_add_args(&p->table, name, action, &args[i], 1, e) < 0)
            return -1;
    return 0;
}

static int names_add(struct profile *p, json_t *rule, uint32_t action,
                     const struct scmp_arg_cmp *args, size_t n_args, const char *where,
                     struct err *e)
{
    json_t *names;
    const char *single;
    if (json_array_get_opt(rule, "names", where, &names, e) < 0 ||
        json_text_get(rule, "name", where, &single, e) < 0)
        return -1;
    size_t n = single ? 1 : json_array_size(names);
    if (!n)
        return json_invalid(e, where, "names no system call");
    if (single && names)
        return json_invalid(e, where, "has both \"name\" and \"names\"");
    for (size_t i = 0; i < n; i++) {
        const char *name = single;
        if (!single && json_element_text(names, i, where, &name, e) < 0)
            return -1;
        if (rule_add(p, action, name, args, n_args, e) < 0)
            return err_wrap(e, "%s", where);
    }
    return 0;
}

static int syscall_add(struct profile *p, json_t *rule, const char *where, struct err *e)
{
    if (!json_is_object(rule))
        return json_invalid(e, where, "is not an object");
    bool included, not_excluded;
    const char *action_name;
    uint64_t errnum;
    uint32_t action;
    json_t *list;
    if (condition_check(p, rule, "includes", true, where, &included, e) < 0 ||
        condition_check(p, rule, "excludes", false, where, &not_excluded, e) < 0 ||
        json_text_get(rule, "action", where, &action_name, e) < 0 ||
        json_number_get(rule, "errnoRet", where, EPERM, &errnum, e) < 0 ||
        action_parse(action_name, errnum, where, &action, e) < 0 ||
        json_array_get_opt(rule, "args", where, &list, e) < 0)
        return -1;
    struct scmp_arg_cmp args[ARGS_MAX];
    if (json_array_size(list) > ARGS_MAX)
        return json_invalid(e, where, "more than six arguments");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (arg_parse(json_array_get(list, i), where, &args[i], e) < 0)
            return -1;
    if (!included || !not_excluded)
        return 0;
    return names_add(p, rule, action, args, json_array_size(list), where, e);
}

/* ---- Profile --------------------------------------------------------------------------------- */

static int flags_parse(json_t *root, uint32_t *ret, struct err *e)
{
    json_t *names;
    *ret = 0;
    if (json_array_get_opt(root, "flags", "flags", &names, e) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name;
        if (json_element_text(names, i, "flags", &name, e) < 0)
            return -1;
        if (str_equal(name, "SECCOMP_FILTER_FLAG_LOG"))
            *ret |= SECCOMP_FILTER_FLAG_LOG;
        else if (str_equal(name, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
            *ret |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        else if (!str_equal(name, "SECCOMP_FILTER_FLAG_TSYNC")) /* one thread: nothing to sync */
            return err_set(e, ERR_INVALID_ARGUMENT, "flags: \"%s\" is unknown", name);
    }
    return 0;
}

static int rules_add(struct profile *p, json_t *root, struct err *e)
{
    json_t *archs, *map, *syscalls;
    if (json_array_get_opt(root, "architectures", "profile", &archs, e) < 0 ||
        archs_add(p, archs, "architectures", e) < 0 ||
        json_array_get_opt(root, "archMap", "profile", &map, e) < 0 ||
        arch_map_add(p, map, e) < 0 ||
        json_array_get_opt(root, "syscalls", "profile", &syscalls, e) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(syscalls); i++) {
        char where[40];
        snprintf(where, sizeof(where), "syscalls[%zu]", i);
        if (syscall_add(p, json_array_get(syscalls, i), where, e) < 0)
            return -1;
    }
    return 0;
}

static int profile_compile(json_t *root, uint64_t caps, struct bytes *ret, struct err *e)
{
    const char *name, *listener;
    uint64_t errnum;
    uint32_t action;
    if (json_text_get(root, "defaultAction", "profile", &name, e) < 0 ||
        json_number_get(root, "defaultErrnoRet", "profile", EPERM, &errnum, e) < 0 ||
        action_parse(name, errnum, "defaultAction", &action, e) < 0 ||
        json_text_get(root, "listenerPath", "profile", &listener, e) < 0)
        return -1;
    if (!str_empty(listener))
        return json_invalid(e, "listenerPath", "is not supported");
    struct profile p = {.caps = caps};
    int r = seccomp_table_init(&p.table, action, e);
    /* Where the profile refuses by default it cannot have known of newer calls. */
    p.table.unknown_enosys = action == SCMP_ACT_ERRNO(EPERM) || action == SCMP_ACT_KILL_THREAD ||
                             action == SCMP_ACT_KILL_PROCESS;
    if (r == 0)
        r = rules_add(&p, root, e);
    if (r == 0)
        r = seccomp_table_compile(&p.table, ret, e);
    seccomp_table_deinit(&p.table);
    return r;
}

int seccomp_compile_json(const char *json, size_t len, uint64_t caps, struct bytes *ret,
                         uint32_t *ret_flags, struct err *e)
{
    if (len > PROFILE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile: %zu bytes are more than %d", len,
                       PROFILE_MAX);
    if (!json || !len || memchr(json, '\0', len))
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile: %s",
                       len ? "it contains a zero byte" : "it is empty");
    _cleanup_free_ char *key = xasprintf("%016" PRIx64 " %.*s", caps, (int)len, json);
    if (seccomp_cache_get(key, ret, ret_flags))
        return 0;

    json_error_t where;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(e, ERR_INVALID_ARGUMENT, "seccomp profile: line %d, column %d: %s",
                       where.line, where.column, where.text);
    uint32_t flags = 0;
    int r = json_is_object(root) ? flags_parse(root, &flags, e)
                                 : json_invalid(e, "", "it is not a JSON object");
    if (r == 0)
        r = profile_compile(root, caps, ret, e);
    json_decref(root);
    if (r < 0)
        return err_wrap(e, "seccomp profile");
    seccomp_cache_put(key, ret, flags);
    *ret_flags = flags;
    return 0;
}
