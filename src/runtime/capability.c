/*
 * Names and masks of capabilities (capabilities(7)). libcap knows the names; what this machine can
 * give is the kernel's highest number and podd's own bounding set.
 */
#include "podd/runtime.h"

#include <ctype.h>
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#define BIT(cap) (UINT64_C(1) << (cap))

static uint64_t bounding_set(void)
{
    uint64_t mask = 0;
    for (int cap = 0; cap < 64; cap++) {
        int set = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (set < 0)
            break;
        if (set)
            mask |= BIT(cap);
    }
    return mask;
}

/* Read once: nothing in podd changes it, and it takes a system call for each capability. */
uint64_t capability_all(void)
{
    static _Atomic uint64_t known;
    uint64_t mask = known;

    if (!mask)
        known = mask = bounding_set();
    return mask;
}

uint64_t capability_default(void)
{
    const uint64_t mask = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) |
                          BIT(CAP_FOWNER) | BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) | BIT(CAP_SETGID) |
                          BIT(CAP_SETUID) | BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) |
                          BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) |
                          BIT(CAP_AUDIT_WRITE);
    return mask & capability_all();
}

int capability_parse(const char *name, uint64_t *ret_mask, struct err *e)
{
    char text[64] = "cap_";
    const char *bare = strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
    size_t len = strlen(bare);
    cap_value_t cap;
    if (!len || len >= sizeof(text) - 4 || isdigit((unsigned char)bare[0]))
        return err_set(e, ERR_INVALID_ARGUMENT, "capability \"%s\" is unknown", name);
    for (size_t i = 0; i <= len; i++)
        text[4 + i] = (char)tolower((unsigned char)bare[i]);
    /* libcap is content with a name that only begins like one. */
    char *exact = cap_from_name(text, &cap) == 0 && cap >= 0 && cap < 64 ? cap_to_name(cap) : NULL;
    bool known = exact && str_equal(exact, text);
    cap_free(exact);
    if (!known)
        return err_set(e, ERR_INVALID_ARGUMENT, "capability \"%s\" is unknown", name);
    *ret_mask = BIT(cap);
    return 0;
}
