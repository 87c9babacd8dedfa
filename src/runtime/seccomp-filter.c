/*
 * Makes the programs that seccomp(2) loads.
 *
 * libseccomp knows names, numbers, architectures and how to compare arguments. What it makes of a
 * profile of 350 calls, though, is a thousand instructions, and checking and translating these
 * costs the kernel 0.4 ms for every process that is started. Most rules say only "this number", and
 * neighbouring numbers mostly agree, so they are kept in a table and become a search tree over some
 * sixty ranges, a quarter of the size. Only rules with arguments go through libseccomp, into a
 * program that the tree jumps to for those numbers:
 *
 *     ld arch; per architecture: jeq arch
 *         ld nr
 *         tree: jge middle ... ret ACTION | ja guards | ja program
 *         guards: ld arg; jset or jeq bits -> EPERM; ret ACTION
 *     ret FOREIGN
 *     program of libseccomp
 *
 * Two more things libseccomp cannot say. A guard refuses a call by a few bits of an argument, and
 * looks at the 32 bits that the kernel looks at; libseccomp compares 64, and rubbish in the upper
 * half would slip through. And numbers above all that are known get ENOSYS: a program that tries a
 * new call and gets EPERM gives up, with ENOSYS it takes the old way.
 *
 * The x32 convention has its numbers above all others, so it counts as unknown; it is in no table.
 */
#include "seccomp-filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>

enum { PROGRAM_MAX = 1 << 20, JUMP_MAX = 255 };

/* ---- Table ------------------------------------------------------------------------------------
 */

static void arch_add(struct seccomp_table *t, uint32_t token)
{
    struct seccomp_arch *a = &t->archs[t->n_archs++];
    a->token = token;
    a->numbers = map_new();
    for (uint32_t number = 0; number < SECCOMP_NUMBERS; number++) {
        a->action[number] = t->default_action;
        _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(token, (int)number);
        if (!name)
            continue;
        a->highest = number;
        map_put(a->numbers, name, (void *)(uintptr_t)(number + 1));
    }
}

/* The number of a system call, or -1. libseccomp's own answer will not do: for calls that 32-bit
 * x86 has twice, once behind socketcall, it is a number of its own invention. */
static int number_of(const struct seccomp_arch *a, const char *name)
{
    return (int)(uintptr_t)map_get(a->numbers, name) - 1;
}

int seccomp_table_init(struct seccomp_table *t, uint32_t default_action, struct err *e)
{
    *t = (struct seccomp_table){
        .default_action = default_action,
        .foreign_action = SCMP_ACT_KILL_PROCESS,
        .archs = xcalloc(SECCOMP_ARCHS_MAX, sizeof(*t->archs)),
        .filter = seccomp_init(default_action),
    };
    if (!t->filter)
        return err_set(e, ERR_INTERNAL, "make a seccomp filter");
    arch_add(t, seccomp_arch_native());
    return 0;
}

void seccomp_table_deinit(struct seccomp_table *t)
{
    if (t->filter)
        seccomp_release(t->filter);
    for (size_t i = 0; i < t->n_archs; i++)
        map_free(t->archs[i].numbers);
    free(t->archs);
}

int seccomp_table_add_arch(struct seccomp_table *t, uint32_t token, struct err *e)
{
    if (token == SCMP_ARCH_X32 || t->n_archs == SECCOMP_ARCHS_MAX)
        return 0;
    int r = seccomp_arch_add(t->filter, token);
    if (r == -EEXIST || r == -EDOM)
        return 0; /* there already, or of the other byte order */
    if (r < 0)
        return err_errno(e, r, "add an architecture to the seccomp filter");
    arch_add(t, token);
    return 0;
}

/* Where rules contradict each other the first one counts, as libseccomp has it. */
static void number_decide(struct seccomp_arch *a, uint32_t number, uint32_t action)
{
    if (a->decided[number])
        return;
    a->decided[number] = true;
    a->action[number] = action;
}

void seccomp_table_add(struct seccomp_table *t, const char *name, uint32_t action)
{
    for (size_t i = 0; i < t->n_archs; i++) {
        int number = number_of(&t->archs[i], name);
        if (number >= 0)
            number_decide(&t->archs[i], (uint32_t)number, action);
    }
}

void seccomp_table_add_number(struct seccomp_table *t, uint32_t number, uint32_t action)
{
    for (size_t i = 0; i < t->n_archs; i++) {
        number_decide(&t->archs[i], number, action);
        if (t->archs[i].highest < number)
            t->archs[i].highest = number;
    }
}

int seccomp_table_add_args(struct seccomp_table *t, const char *name, uint32_t action,
                           const struct scmp_arg_cmp *args, size_t n_args, struct err *e)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || action == t->default_action)
        return 0;
    int r = seccomp_rule_add_array(t->filter, action, number, (unsigned)n_args, args);
    if (r < 0)
        return err_errno(e, r, "add a rule for %s", name);
    for (size_t i = 0; i < t->n_archs; i++) {
        number = number_of(&t->archs[i], name);
        if (number >= 0)
            t->archs[i].by_arguments[number] = true;
    }
    return 0;
}

/* ---- Instructions -----------------------------------------------------------------------------
 */

struct code {
    struct sock_filter *insns;
    size_t n;
};

/* Where the jumps that are not known yet go; kept in the instruction until they are. */
enum { TO_PROGRAM = 1, TO_GUARD };

static size_t emit(struct code *c, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    *(struct sock_filter *)array_push(&c->insns, &c->n, sizeof(struct sock_filter)) =
        (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
    return c->n - 1;
}

static void emit_load(struct code *c, uint32_t offset)
{
    emit(c, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void emit_return(struct code *c, uint32_t action)
{
    emit(c, BPF_RET | BPF_K, action, 0, 0);
}

static uint32_t arg_offset(unsigned arg)
{
    uint32_t low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
    return (uint32_t)offsetof(struct seccomp_data, args) + 8 * arg + low;
}

/* ---- Tree -------------------------------------------------------------------------------------
 */

/* Numbers from `first` up to the next range. */
struct range {
    uint32_t first;
    uint32_t action;
    bool by_arguments;
    bool guarded;
};

static bool is_guarded(const struct seccomp_table *t, const struct seccomp_arch *a, uint32_t number)
{
    for (size_t i = 0; i < t->n_guards; i++)
        if (number_of(a, t->guards[i].syscall) == (int)number)
            return true;
    return false;
}

static struct range range_of(const struct seccomp_table *t, const struct seccomp_arch *a,
                             uint32_t number)
{
    struct range r = {.first = number, .action = a->action[number]};
    if (t->unknown_enosys && number > a->highest)
        r.action = SCMP_ACT_ERRNO(ENOSYS);
    r.by_arguments = a->by_arguments[number] && !a->decided[number];
    r.guarded = r.action == SCMP_ACT_ALLOW && is_guarded(t, a, number);
    return r;
}

static struct range *ranges_make(const struct seccomp_table *t, const struct seccomp_arch *a,
                                 size_t *ret_n)
{
    struct range *ranges = NULL;
    size_t n = 0;
    for (uint32_t number = 0; number < SECCOMP_NUMBERS; number++) {
        struct range r = range_of(t, a, number);
        const struct range *last = n ? &ranges[n - 1] : NULL;
        if (last && last->action == r.action && last->by_arguments == r.by_arguments &&
            !last->guarded && !r.guarded)
            continue;
        *(struct range *)array_push(&ranges, &n, sizeof(r)) = r;
    }
    *ret_n = n;
    return ranges;
}

static void emit_tree(struct code *c, const struct range *ranges, size_t n)
{
    if (n == 1 && ranges->by_arguments) {
        emit(c, BPF_JMP | BPF_JA, 0, TO_PROGRAM, 0);
    } else if (n == 1 && ranges->guarded) {
        size_t at = emit(c, BPF_JMP | BPF_JA, 0, TO_GUARD, 0);
        c->insns[at].k = ranges->first;
    } else if (n == 1) {
        emit_return(c, ranges->action);
    } else {
        size_t left = n / 2, test = emit(c, BPF_JMP | BPF_JGE | BPF_K, ranges[left].first, 0, 0);
        size_t far = 0;
        if (left > JUMP_MAX / 4) { /* a conditional jump may not reach over it */
            c->insns[test].jf = 1;
            far = emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
        }
        emit_tree(c, ranges, left);
        if (far)
            c->insns[far].k = (uint32_t)(c->n - far - 1);
        else
            c->insns[test].jt = (uint8_t)(c->n - test - 1);
        emit_tree(c, ranges + left, n - left);
    }
}

static void emit_guards(struct code *c, const struct seccomp_table *t, const struct seccomp_arch *a,
                        uint32_t number)
{
    for (size_t i = 0; i < t->n_guards; i++) {
        const struct seccomp_guard *g = &t->guards[i];
        if (number_of(a, g->syscall) != (int)number)
            continue;
        emit_load(c, arg_offset(g->arg));
        emit(c, BPF_JMP | (g->equal ? BPF_JEQ : BPF_JSET) | BPF_K, g->bits, 0, 1);
        emit_return(c, SCMP_ACT_ERRNO(EPERM));
    }
    emit_return(c, SCMP_ACT_ALLOW);
}

static void emit_arch(struct code *c, const struct seccomp_table *t, const struct seccomp_arch *a)
{
    size_t n;
    _cleanup_free_ struct range *ranges = ranges_make(t, a, &n);
    emit_load(c, offsetof(struct seccomp_data, arch));
    emit(c, BPF_JMP | BPF_JEQ | BPF_K, a->token, 1, 0);
    size_t skip = emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_load(c, offsetof(struct seccomp_data, nr));
    emit_tree(c, ranges, n);
    for (size_t i = skip + 1; i < c->n; i++)
        if (c->insns[i].code == (BPF_JMP | BPF_JA) && c->insns[i].jt == TO_GUARD) {
            uint32_t number = c->insns[i].k;
            c->insns[i].jt = 0;
            c->insns[i].k = (uint32_t)(c->n - i - 1);
            emit_guards(c, t, a, number);
        }
    c->insns[skip].k = (uint32_t)(c->n - skip - 1);
}

/* ---- Program ----------------------------------------------------------------------------------
 */

static int filter_export(scmp_filter_ctx filter, struct bytes *ret, struct err *e)
{
    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "make a memory file");
    int r = seccomp_export_bpf(filter, fd);
    off_t len = r == 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (r < 0)
        return err_errno(e, r, "compile the rules on arguments");
    if (len <= 0 || len > PROGRAM_MAX || len % sizeof(struct sock_filter))
        return err_set(e, ERR_INTERNAL, "libseccomp made a program of %lld bytes", (long long)len);
    uint8_t *data = xmalloc((size_t)len);
    lseek(fd, 0, SEEK_SET);
    if (fd_read_full(fd, data, (size_t)len) != len) {
        free(data);
        return err_set(e, ERR_INTERNAL, "read the compiled rules on arguments");
    }
    *ret = (struct bytes){.data = data, .len = (size_t)len};
    return 0;
}

static void program_append(struct code *c, const struct bytes *program)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->insns[i].code == (BPF_JMP | BPF_JA) && c->insns[i].jt == TO_PROGRAM) {
            c->insns[i].jt = 0;
            c->insns[i].k = (uint32_t)(c->n - i - 1);
        }
    for (size_t i = 0; i < program->len / sizeof(struct sock_filter); i++) {
        struct sock_filter insn;
        memcpy(&insn, program->data + i * sizeof(insn), sizeof(insn));
        emit(c, insn.code, insn.k, insn.jt, insn.jf);
    }
}

static bool has_arguments(const struct code *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->insns[i].code == (BPF_JMP | BPF_JA) && c->insns[i].jt == TO_PROGRAM)
            return true;
    return false;
}

int seccomp_table_compile(struct seccomp_table *t, struct bytes *ret, struct err *e)
{
    struct code c = {0};
    for (size_t i = 0; i < t->n_archs; i++)
        emit_arch(&c, t, &t->archs[i]);
    emit_return(&c, t->foreign_action);
    _cleanup_bytes_ struct bytes program = {0};
    if (has_arguments(&c) && filter_export(t->filter, &program, e) < 0) {
        free(c.insns);
        return -1;
    }
    program_append(&c, &program);
    if (c.n > BPF_MAXINSNS) {
        free(c.insns);
        return err_set(e, ERR_INVALID_ARGUMENT, "%zu instructions are more than the kernel's %d",
                       c.n, BPF_MAXINSNS);
    }
    *ret = (struct bytes){.data = (uint8_t *)c.insns, .len = c.n * sizeof(struct sock_filter)};
    return 0;
}
