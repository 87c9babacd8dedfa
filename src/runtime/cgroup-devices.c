/*
 * Which devices a cgroup may use.
 *
 * Both cgroup versions start from "none". On v1 the rules are lines for devices.allow and
 * devices.deny. On v2 they become a small BPF program (BPF_PROG_TYPE_CGROUP_DEVICE), put together
 * here by hand: no library podd uses makes them. The last rule that fits decides, so the program
 * tests the rules from the last to the first:
 *
 *     r2 = type, r3 = access, r4 = major, r5 = minor
 *     per rule: skip unless type, major and minor are equal (those that are not wildcards);
 *               an allow rule fits when it has all of the wanted access, a deny rule when it has
 *               any; then return 1 or 0
 *     return 0
 */
#include "cgroup.h"

#include <linux/bpf.h>
#include <stdio.h>

#include "sys.h"

enum { RULES_MAX = 4096 };

static uint32_t access_bits(const char *access)
{
    uint32_t bits = 0;
    for (; *access; access++)
        bits |= *access == 'r'   ? BPF_DEVCG_ACC_READ
                : *access == 'w' ? BPF_DEVCG_ACC_WRITE
                : *access == 'm' ? BPF_DEVCG_ACC_MKNOD
                                 : 0;
    return bits;
}

static int rule_check(const device_rule_t *r, struct err *e)
{
    if ((r->type != 'a' && r->type != 'b' && r->type != 'c') || str_empty(r->access) ||
        strspn(r->access, "rwm") != strlen(r->access) || r->major < -1 || r->minor < -1)
        return err_set(e, ERR_INVALID_ARGUMENT, "device rule %c %lld:%lld \"%s\" makes no sense",
                       (int)r->type, (long long)r->major, (long long)r->minor, r->access);
    return 0;
}

/* ---- v1 -------------------------------------------------------------------------------------- */

static int v1_rule_write(int allow_fd, int deny_fd, const device_rule_t *r)
{
    char major[24] = "*", minor[24] = "*", line[96] = "a";
    if (r->major >= 0)
        snprintf(major, sizeof(major), "%lld", (long long)r->major);
    if (r->minor >= 0)
        snprintf(minor, sizeof(minor), "%lld", (long long)r->minor);
    if (r->type != 'a')
        snprintf(line, sizeof(line), "%c %s:%s %s", (int)r->type, major, minor, r->access);
    return fd_write_all(r->allow ? allow_fd : deny_fd, line, strlen(line));
}

static int v1_apply(int dirfd, const char *path, device_rule_t *const *rules, size_t n,
                    struct err *e)
{
    _cleanup_close_ int deny = openat(dirfd, "devices.deny", O_WRONLY | O_CLOEXEC);
    _cleanup_close_ int allow = openat(dirfd, "devices.allow", O_WRONLY | O_CLOEXEC);
    int r = deny < 0 || allow < 0 ? -errno : fd_write_all(deny, "a", 1);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = v1_rule_write(allow, deny, rules[i]);
    if (r < 0)
        return err_errno(e, r, "set the device rules of cgroup /%s", path);
    return 0;
}

/* ---- v2 -------------------------------------------------------------------------------------- */

struct program {
    struct bpf_insn *insns;
    size_t count;
};

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off,
                 int32_t imm)
{
    *(struct bpf_insn *)array_push(&p->insns, &p->count, sizeof(struct bpf_insn)) =
        (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void emit_return(struct program *p, int value)
{
    emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
    emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_prologue(struct program *p)
{
    const uint8_t load = BPF_LDX | BPF_MEM | BPF_W;
    emit(p, load, BPF_REG_2, BPF_REG_1, 0, 0); /* access_type: access << 16 | type */
    emit(p, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
    emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
    emit(p, load, BPF_REG_4, BPF_REG_1, 4, 0);
    emit(p, load, BPF_REG_5, BPF_REG_1, 8, 0);
}

/* The jumps' distances are known once the rule's end is: they are patched there. */
static void emit_rule(struct program *p, const device_rule_t *r)
{
    const uint8_t jne = BPF_JMP | BPF_JNE | BPF_K, jeq = BPF_JMP | BPF_JEQ | BPF_K;
    size_t start = p->count;
    if (r->type != 'a') {
        emit(p, jne, BPF_REG_2, 0, 0, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
        if (r->major >= 0)
            emit(p, jne, BPF_REG_4, 0, 0, (int32_t)r->major);
        if (r->minor >= 0)
            emit(p, jne, BPF_REG_5, 0, 0, (int32_t)r->minor);
        uint32_t bits = access_bits(r->access);
        emit(p, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
        emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, (int32_t)(r->allow ? ~bits : bits));
        /* allow: nothing but what the rule has is wanted; deny: something that it has is. */
        emit(p, r->allow ? jne : jeq, BPF_REG_1, 0, 0, 0);
    }
    emit_return(p, r->allow ? 1 : 0);
    for (size_t i = start; i < p->count; i++) {
        uint8_t code = p->insns[i].code;
        if (code == jne || code == jeq)
            p->insns[i].off = (int16_t)(p->count - i - 1);
    }
}

static int bpf_call(int command, union bpf_attr *attr)
{
    return sys_result(syscall(SYS_bpf, command, attr, sizeof(*attr)));
}

static int v2_apply(int dirfd, const char *path, device_rule_t *const *rules, size_t n,
                    struct err *e)
{
    struct program p = {0};
    emit_prologue(&p);
    bool decided = false; /* by a rule for all: what would follow could never be reached */
    for (size_t i = n; !decided && i-- > 0;) {
        emit_rule(&p, rules[i]);
        decided = rules[i]->type == 'a';
    }
    if (!decided)
        emit_return(&p, 0);

    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .insns = (uintptr_t)p.insns,
                           .insn_cnt = (uint32_t)p.count,
                           .license = (uintptr_t) "Apache-2.0"};
    _cleanup_close_ int program = bpf_call(BPF_PROG_LOAD, &load);
    free(p.insns);
    if (program < 0)
        return err_errno(e, program, "load the device program of cgroup /%s into the kernel", path);
    union bpf_attr attach = {.target_fd = (uint32_t)dirfd,
                             .attach_bpf_fd = (uint32_t)program,
                             .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    int r = bpf_call(BPF_PROG_ATTACH, &attach);
    if (r < 0)
        return err_errno(e, r, "attach the device program to cgroup /%s", path);
    return 0;
}

int cgroup_devices_apply(const struct cgroup *cg, device_rule_t *const *rules, size_t n,
                         struct err *e)
{
    if (n > RULES_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%zu device rules are more than %d", n, RULES_MAX);
    for (size_t i = 0; i < n; i++)
        if (rule_check(rules[i], e) < 0)
            return -1;
    int devices = cgroup_layout_v1_index(cgroup_layout(), "devices");
    if (devices >= 0)
        return v1_apply(cg->v1[devices], cg->path, rules, n, e);
    if (cg->v2 >= 0)
        return v2_apply(cg->v2, cg->path, rules, n, e);
    return err_set(e, ERR_FAILED_PRECONDITION,
                   "cgroup /%s: this machine has no way to restrict devices", cg->path);
}
