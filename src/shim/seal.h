/*
 * seal.h - a program that cannot be overwritten.
 */
#ifndef SHIM_SEAL_H
#define SHIM_SEAL_H

#include <podd/base.h>

/* Does this process run from a sealed memory file? */
bool seal_is_sealed(void);
/* Executes the program anew from one, with an empty environment. Returns only on failure. */
int seal_exec(char *const argv[], struct err *e);

#endif
