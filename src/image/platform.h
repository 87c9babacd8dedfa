/* platform.h - which of several builds of an image is for this machine. */
#ifndef IMAGE_PLATFORM_H
#define IMAGE_PLATFORM_H

#include "podd/base.h"

struct platform {
    const char *os;
    const char *architecture;
    const char *variant; /* "" when the architecture has none that matters */
};

/* What this machine is, in the words of image indexes. The strings are constant. */
struct platform platform_of_machine(void);
/* How well an image for `os`/`architecture`/`variant` (NULL or "" are "not said") runs on
 * `machine`: 0 not at all, else the higher the better. */
unsigned platform_score(const struct platform *machine, const char *os, const char *architecture,
                        const char *variant);

#endif
