/*
 * pod-kit.h - what the tests of the pod room share: small configurations to change a little.
 */
#ifndef POD_KIT_H
#define POD_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include <podd/pod.h>

/* A NULL-terminated vector on the stack. */
#define STRV(...) ((char *const[]){__VA_ARGS__, NULL})

#define TEST_ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static inline void assert_error(const struct err *e, enum err_code code, const char *part)
{
    if (e->code != code || !strstr(err_text(e), part))
        fail_msg("error is %s \"%s\", expected %s with \"%s\"", err_code_name(e->code), err_text(e),
                 err_code_name(code), part);
}

#endif
