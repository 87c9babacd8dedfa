/*
 * fuzz-manifest.c - manifests of any bytes: no crash, and what is accepted once is accepted again
 * in its normalised form, which does not change any more.
 */
#include "../../src/node/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct manifests found = {0}, again = {0};

    if (manifests_parse(data, size, "fuzz", "default", &found, &e) < 0)
        return 0;
    for (size_t i = 0; i < found.count; i++) {
        const char *json = found.items[i]->json;
        if (manifests_parse(json, strlen(json), "again", "other", &again, &e) < 0 ||
            again.count != 1 || !str_equal(again.items[0]->json, json))
            abort();
        manifests_free(&again);
    }
    for (size_t i = 0; i < found.n_objects; i++) {
        const char *json = found.objects[i]->json;
        if (manifests_parse(json, strlen(json), "again", "other", &again, &e) < 0 ||
            again.n_objects != 1 || !str_equal(again.objects[0]->json, json))
            abort();
        manifests_free(&again);
    }
    manifests_free(&found);
    return 0;
}
