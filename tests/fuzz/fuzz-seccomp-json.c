/*
 * fuzz-seccomp-json.c - seccomp profiles: whatever the text, it is refused with a reason or becomes
 * a program of a length the kernel takes.
 */
#include <linux/filter.h>

#include "podd/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_bytes_ struct bytes program = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    uint32_t flags = 0;
    if (seccomp_compile_json((const char *)data, size, UINT64_C(1) << 21, &program, &flags, &e) <
        0) {
        if (e.code == ERR_OK || !e.message)
            abort();
        return 0;
    }
    size_t n = program.len / sizeof(struct sock_filter);
    if (e.code != ERR_OK || !n || n > BPF_MAXINSNS || program.len % sizeof(struct sock_filter))
        abort();
    /* No jump leaves it, and it ends with an answer. */
    const struct sock_filter *insns = (const struct sock_filter *)program.data;
    for (size_t i = 0; i < n; i++) {
        if (BPF_CLASS(insns[i].code) != BPF_JMP)
            continue;
        size_t jump = BPF_OP(insns[i].code) == BPF_JA ? insns[i].k
                      : insns[i].jt > insns[i].jf     ? insns[i].jt
                                                      : insns[i].jf;
        if (i + 1 + jump >= n)
            abort();
    }
    if (BPF_CLASS(insns[n - 1].code) != BPF_RET)
        abort();
    return 0;
}
