/* fuzz-image-ref.c - image references, URLs and challenges: short texts out of strange hands. What
 * is accepted must be its own canonical form. */
#include <assert.h>
#include <stdint.h>

#include "credentials.h"
#include "podd/image.h"

static void try_reference(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct image_ref ref, again;

    if (image_ref_parse(text, &ref, &e) < 0)
        return;
    char *full = image_ref_format(&ref);
    if (image_ref_parse(full, &again, &e) < 0)
        abort();
    char *twice = image_ref_format(&again);
    /* The repository becomes part of a URL's path. */
    if (!str_equal(full, twice) || strpbrk(full, " %?#\\") || strstr(ref.repository, "..") ||
        strstr(ref.repository, "//"))
        abort();
    free(full);
    free(twice);
    image_ref_clear(&ref);
    image_ref_clear(&again);
}

static void try_url(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_url_ struct url url = {0};

    if (url_parse(text, "https://registry.example/v2/a", &url, &e) < 0)
        return;
    if (strpbrk(url.text, " \r\n") || strchr(url.host, '@') || strchr(url.host, '/'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xstrndup((const char *)data, size);
    struct challenge challenge;

    try_reference(text);
    try_url(text);
    challenge_parse(text, &challenge);
    challenge_clear(&challenge);
    free(text);
    return 0;
}
