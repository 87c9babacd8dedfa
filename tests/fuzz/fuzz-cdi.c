/*
 * fuzz-cdi.c - descriptions of devices of any bytes: no crash, and what is accepted has what every
 * description must have.
 */
#include "../../src/pod/cdi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_spec *spec;

    if (cdi_spec_parse(data, size, "fuzz", &spec, &e) < 0)
        return 0;
    for (size_t i = 0; i < spec->devices.count; i++) {
        const struct cdi_device *device = cdi_spec_device(spec, i);
        _cleanup_free_ char *name = xasprintf("%s=%s", spec->kind, device->name);
        if (!cdi_name_is_valid(name) || !device->edits)
            abort();
    }
    cdi_spec_free(spec);
    return 0;
}
