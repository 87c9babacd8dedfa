/*
 * slice.c - where systemd puts a slice.
 *
 * A slice's name tells its place: each '-' is a level, so a-b-c.slice lies in a-b.slice, which lies
 * in a.slice (systemd.slice(5)). A master names a pod's slice either alone or by the whole path of
 * its cgroup; a path that is not where systemd has the slice is a mistake somewhere, and refused.
 */
#include "slice.h"

#define SUFFIX ".slice"

enum { UNIT_NAME_MAX = 255 };

const char *slice_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool has_suffix(const char *name)
{
    size_t len = strlen(name);

    return len >= strlen(SUFFIX) && str_equal(name + len - strlen(SUFFIX), SUFFIX);
}

bool slice_is_meant(const char *parent)
{
    return has_suffix(slice_name(parent));
}

/* Empty parts ("-a", "a--b", "a-") have no place in the tree. */
static bool name_valid(const char *name)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789:_.\\-";
    size_t stem = strlen(name) - strlen(SUFFIX);

    return stem > 0 && strlen(name) <= UNIT_NAME_MAX && strspn(name, characters) == strlen(name) &&
           name[0] != '-' && name[stem - 1] != '-' && !strstr(name, "--");
}

int slice_path(const char *parent, char **ret_path, struct err *e)
{
    const char *name = slice_name(parent);
    _cleanup_strbuf_ struct strbuf path = {0};

    if (!has_suffix(name))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "cgroup parent %s: podd uses systemd's cgroups (cgroup_driver), so it must "
                       "be a slice, as in kubepods-burstable.slice; set the same driver here and "
                       "in the kubelet",
                       parent);
    if (!name_valid(name))
        return err_set(e, ERR_INVALID_ARGUMENT, "cgroup parent %s: %s is no name of a slice",
                       parent, name);
    for (const char *dash = strchr(name, '-'); dash; dash = strchr(dash + 1, '-')) {
        _cleanup_free_ char *level = xstrndup(name, (size_t)(dash - name));
        strbuf_addf(&path, "/%s" SUFFIX, level);
    }
    strbuf_addf(&path, "/%s", name);
    if (name != parent && !str_equal(parent, path.data))
        return err_set(e, ERR_INVALID_ARGUMENT, "cgroup parent %s: systemd has that slice at %s",
                       parent, path.data);
    *ret_path = strbuf_take(&path);
    return 0;
}

char *scope_name(const char *sandbox_id)
{
    return xasprintf("podd-%s.scope", sandbox_id);
}
