/*
 * expand.h - $(NAME) in commands, arguments and environments. Pure.
 */
#ifndef NODE_EXPAND_H
#define NODE_EXPAND_H

#include "podd/base.h"

/* Replaces each $(NAME) that `vars` knows (the last of a name counts); others stay as they are, and
 * $$ stands for one $. Caller frees. */
char *expand_text(const char *text, const struct key_value *vars, size_t n_vars);
/* The same, but NULL when the text names a variable that is not known: *ret_missing (caller frees)
 * is its name. */
char *expand_strict(const char *text, const struct key_value *vars, size_t n_vars,
                    char **ret_missing);
/* Each of a strv; NULL when it is empty. Caller frees. */
char **expand_strv(char *const *v, const struct key_value *vars, size_t n_vars);

#endif
