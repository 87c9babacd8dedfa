/*
 * paths.h - where podd's own helper programs are.
 */
#ifndef PODD_PATHS_H
#define PODD_PATHS_H

/* The absolute path of podd-shim or podd-unpack: beside podd itself in a build tree, else in
 * <prefix>/libexec/podd. Caller frees. */
char *program_path(const char *name);

#endif
