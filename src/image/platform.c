/*
 * platform.c - the machine's platform in the words of Go ("amd64"), which image indexes use.
 *
 * Variants are levels: a machine runs its own level and those below. For amd64 the plain build is
 * preferred over v2 and up only when the processor lacks their instructions; an index that offers
 * v3 to a v3 machine means it to be taken.
 */
#include <sys/utsname.h>

#include "platform.h"

struct machine {
    const char *kernel; /* uname's word */
    struct platform platform;
};

static const struct machine MACHINES[] = {
    {"x86_64", {"linux", "amd64", ""}},
    {"aarch64", {"linux", "arm64", "v8"}},
    {"armv7l", {"linux", "arm", "v7"}},
    {"armv6l", {"linux", "arm", "v6"}},
    {"i686", {"linux", "386", ""}},
    {"ppc64le", {"linux", "ppc64le", ""}},
    {"riscv64", {"linux", "riscv64", ""}},
    {"s390x", {"linux", "s390x", ""}},
    {"loongarch64", {"linux", "loong64", ""}},
};

#ifdef __x86_64__
static const char *amd64_level(void)
{
    if (!__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("sse4.2") ||
        !__builtin_cpu_supports("popcnt"))
        return "v1";
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("fma"))
        return "v2";
    return "v3";
}
#else
static const char *amd64_level(void)
{
    return "v1";
}
#endif

struct platform platform_of_machine(void)
{
    struct utsname u;

    if (uname(&u) == 0)
        for (size_t i = 0; i < ARRAY_SIZE(MACHINES); i++)
            if (str_equal(u.machine, MACHINES[i].kernel)) {
                struct platform p = MACHINES[i].platform;
                if (str_equal(p.architecture, "amd64"))
                    p.variant = amd64_level();
                return p;
            }
    return (struct platform){"linux", "unknown", ""};
}

/* The number of "v7"; 0 for none or another form. */
static unsigned variant_level(const char *variant)
{
    uint64_t level;

    if (str_empty(variant) || variant[0] != 'v' || parse_uint(variant + 1, 99, &level) < 0)
        return 0;
    return (unsigned)level;
}

/* What "no variant said" means for an architecture. */
static unsigned default_level(const char *architecture)
{
    if (str_equal(architecture, "arm"))
        return 7;
    if (str_equal(architecture, "arm64"))
        return 8;
    return 1;
}

unsigned platform_score(const struct platform *machine, const char *os, const char *architecture,
                        const char *variant)
{
    if (!str_equal(machine->os, os) || !str_equal(machine->architecture, architecture))
        return 0;
    unsigned mine = variant_level(machine->variant), theirs = variant_level(variant);
    if (!str_empty(variant) && theirs == 0)
        return 0; /* a variant that nobody here knows */
    if (mine == 0)
        mine = default_level(architecture);
    if (theirs == 0)
        theirs = default_level(architecture);
    return theirs > mine ? 0 : 1 + theirs;
}
