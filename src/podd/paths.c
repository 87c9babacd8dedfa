/*
 * paths.c - finds podd's helper programs from the place of podd itself, so that a build tree, an
 * installation and several versions side by side all use their own.
 */
#include "paths.h"

#include "podd/base.h"

#include <libgen.h>
#include <limits.h>
#include <unistd.h>

/* In a build tree podd is <build>/src/podd/podd and the helpers stand in their rooms' folders. */
static const struct {
    const char *name, *build_path;
} helpers[] = {
    {"podd-shim", "../shim/podd-shim"},
    {"podd-unpack", "../image/podd-unpack"},
};

char *program_path(const char *name)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len > 0) {
        self[len] = '\0';
        const char *dir = dirname(self);
        for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
            if (!str_equal(helpers[i].name, name))
                continue;
            char *path = xasprintf("%s/%s", dir, helpers[i].build_path);
            if (access(path, X_OK) == 0)
                return path;
            free(path);
        }
    }
    return xasprintf("%s/%s", PODD_LIBEXECDIR, name);
}
