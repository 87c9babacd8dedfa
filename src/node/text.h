/*
 * text.h - text that came out of a container, made fit for an answer: valid UTF-8. Pure.
 */
#ifndef NODE_TEXT_H
#define NODE_TEXT_H

#include "podd/base.h"

/* The first `max` bytes at most, whole characters only; what is no UTF-8 becomes U+FFFD. NULL is
 * "". Caller frees. */
char *text_clean(const char *s, size_t len, size_t max);

#endif
