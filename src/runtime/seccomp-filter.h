/* System call tables, and the programs for the kernel made from them. Theory: seccomp-filter.c. */
#ifndef RUNTIME_SECCOMP_FILTER_H
#define RUNTIME_SECCOMP_FILTER_H

#include <seccomp.h>

#include "podd/runtime.h"

enum {
    SECCOMP_NUMBERS = 1024, /* more than any architecture has */
    SECCOMP_ARCHS_MAX = 4,
};

/* Refuses a system call that is otherwise allowed, by one of its arguments. */
struct seccomp_guard {
    const char *syscall;
    unsigned arg;
    uint32_t bits;
    bool equal; /* the argument equals `bits`; else: has any of them */
};

/* What a filter does with every system call number of one architecture. */
struct seccomp_arch {
    uint32_t token;                     /* SCMP_ARCH_* */
    uint32_t action[SECCOMP_NUMBERS];   /* of libseccomp */
    bool decided[SECCOMP_NUMBERS];      /* by a rule, not the default */
    bool by_arguments[SECCOMP_NUMBERS]; /* the rules in `filter` decide */
    uint32_t highest;                   /* number that anybody here can name */
    struct map *numbers;                /* name -> number + 1 */
};

struct seccomp_table {
    struct seccomp_arch *archs;
    size_t n_archs;
    uint32_t default_action;
    uint32_t foreign_action; /* for calls by the convention of another architecture */
    bool unknown_enosys;     /* ENOSYS for numbers above all that are known */
    scmp_filter_ctx filter;  /* holds the rules with arguments, and only these */
    const struct seccomp_guard *guards;
    size_t n_guards;
};

/* For the architecture of this machine. */
int seccomp_table_init(struct seccomp_table *t, uint32_t default_action, struct err *e) MUST_CHECK;
void seccomp_table_deinit(struct seccomp_table *t);
/* Before any rule. One that cannot run beside the native one is passed over. */
int seccomp_table_add_arch(struct seccomp_table *t, uint32_t token, struct err *e) MUST_CHECK;
/* A name that libseccomp does not know is passed over. Of several actions the first one counts, and
 * any counts more than rules on arguments. */
void seccomp_table_add(struct seccomp_table *t, const char *name, uint32_t action);
/* The same for a number that is the same on all architectures and may have no name yet. */
void seccomp_table_add_number(struct seccomp_table *t, uint32_t number, uint32_t action);
/* A rule on arguments. */
int seccomp_table_add_args(struct seccomp_table *t, const char *name, uint32_t action,
                           const struct scmp_arg_cmp *args, size_t n_args, struct err *e)
    MUST_CHECK;
int seccomp_table_compile(struct seccomp_table *t, struct bytes *ret, struct err *e) MUST_CHECK;
#define _cleanup_table_ CLEANUP(seccomp_table_deinit)

/* Compiled programs by the text they were made from. Any thread. */
bool seccomp_cache_get(const char *key, struct bytes *ret_program, uint32_t *ret_flags);
void seccomp_cache_put(const char *key, const struct bytes *program, uint32_t flags);

#endif
