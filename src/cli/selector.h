/*
 * selector.h - label selectors as kubectl writes them: "app=web,tier!=cache,canary,!old".
 */
#ifndef CLI_SELECTOR_H
#define CLI_SELECTOR_H

#include "cli.h"

enum selector_op { SELECT_EQUAL, SELECT_DIFFERENT, SELECT_PRESENT, SELECT_ABSENT };

struct requirement {
    enum selector_op op;
    char *key, *value;
};

struct selector {
    struct requirement *items;
    size_t n;
};

/* NULL or "" selects everything. */
int selector_parse(const char *text, struct selector *ret, struct err *e) MUST_CHECK;
void selector_free(struct selector *s);
/* All requirements hold. As in Kubernetes, != holds too where there is no such label. */
bool selector_matches(const struct selector *s, const Podd__V1__Pod *pod);

#endif
