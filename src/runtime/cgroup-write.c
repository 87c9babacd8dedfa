/*
 * Writes limits into the files of a cgroup.
 *
 * The order of writes comes from the plan and suits a new cgroup. A live one may need the opposite
 * order (memory and memory+swap must never cross), so a value that is refused is tried once more
 * after the others. An update reads every value before it changes it, and puts all back when one is
 * refused for good.
 */
#include "cgroup.h"

struct write_target {
    int dirfd; /* -1: no such controller, and that is fine */
    bool done;
    char *before; /* for undo */
};

static int target_find(const struct cgroup *cg, const cgroup_write_t *w, int *ret, struct err *e)
{
    if (str_empty(w->file) || strchr(w->file, '/') || w->file[0] == '.')
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a file of a cgroup", w->file);
    int dirfd = cg->v2;
    if (!str_empty(w->controller)) {
        int i = cgroup_layout_v1_index(cgroup_layout(), w->controller);
        dirfd = i < 0 ? -1 : cg->v1[i];
    }
    if (dirfd < 0 && !w->optional)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "set %s of cgroup /%s: this machine has no cgroup %s%s", w->file, cg->path,
                       str_empty(w->controller) ? "v2" : "controller ", w->controller);
    *ret = dirfd;
    return 0;
}

static char *value_read(int dirfd, const char *file)
{
    char text[4096];
    if (cgroup_file_read(dirfd, file, text, sizeof(text)) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return xstrdup(text);
}

static int write_try(struct write_target *t, const cgroup_write_t *w, bool undo)
{
    if (t->done || t->dirfd < 0)
        return 0;
    if (undo && !t->before)
        t->before = value_read(t->dirfd, w->file);
    int r = cgroup_file_write(t->dirfd, w->file, w->value);
    if (r == -ENOENT && w->optional)
        r = 0;
    t->done = r == 0;
    return r;
}

static int write_failed(const struct cgroup *cg, const cgroup_write_t *w, int r, struct err *e)
{
    if (r == -ENOENT)
        return err_set(e, ERR_FAILED_PRECONDITION, "set %s of cgroup /%s: there is no such file",
                       w->file, cg->path);
    err_errno(e, r, "set %s of cgroup /%s to \"%s\"", w->file, cg->path, w->value);
    if (r == -EINVAL || r == -ERANGE)
        e->code = ERR_INVALID_ARGUMENT;
    return -1;
}

int cgroup_writes_apply(const struct cgroup *cg, cgroup_write_t *const *writes, size_t n, bool undo,
                        struct err *e)
{
    _cleanup_free_ struct write_target *targets = xcalloc(n + 1, sizeof(*targets));
    int result = 0;
    for (size_t i = 0; result == 0 && i < n; i++)
        result = target_find(cg, writes[i], &targets[i].dirfd, e);

    bool refused = false;
    for (size_t i = 0; result == 0 && i < n; i++)
        refused |= write_try(&targets[i], writes[i], undo) < 0;
    for (size_t i = 0; result == 0 && refused && i < n; i++) {
        int r = write_try(&targets[i], writes[i], undo);
        if (r < 0)
            result = write_failed(cg, writes[i], r, e);
    }
    for (size_t i = n; undo && result < 0 && i-- > 0;)
        if (targets[i].done && targets[i].before)
            (void)cgroup_file_write(targets[i].dirfd, writes[i]->file, targets[i].before);
    for (size_t i = 0; i < n; i++)
        free(targets[i].before);
    return result;
}
