/*
 * trash.c - background deletion.
 *
 * A tree that is no longer wanted is first renamed into the trash's directory, which is cheap and
 * final: nobody finds it under its name any more. One worker at a time then deletes what has piled
 * up, so that many removals do not occupy all worker threads. What a crash leaves lies in the
 * directory that the next start empties.
 */
#include <stdio.h>
#include <sys/random.h>

#include "trash.h"

struct trash {
    struct loop *loop;
    int dirfd;      /* owned */
    char **waiting; /* strv */
    bool posted;    /* begin() is */
    bool working;
    bool freed; /* while one of the two: they free */
};

struct sweep {
    struct trash *trash;
    char **names;
};

struct trash *trash_new(struct loop *loop, int dirfd)
{
    struct trash *t = xnew(struct trash);

    t->loop = loop;
    t->dirfd = fd_dup(dirfd);
    return t;
}

static void destroy(struct trash *t)
{
    fd_close(t->dirfd < 0 ? -1 : t->dirfd);
    strv_free(t->waiting);
    free(t);
}

void trash_free(struct trash *t)
{
    if (!t)
        return;
    if (t->working || t->posted)
        t->freed = true;
    else
        destroy(t);
}

char *trash_name_new(const char *prefix)
{
    unsigned char raw[8];
    char hex[2 * sizeof(raw) + 1];

    if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
        abort();
    hex_encode(raw, sizeof(raw), hex);
    return xasprintf("%s-%s", prefix, hex);
}

static void sweep_work(void *arg)
{
    struct sweep *s = arg;

    for (char **name = s->names; name && *name; name++) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (tree_remove(s->trash->dirfd, *name, &e) < 0)
            log_warn("image", *name, "%s", err_text(&e));
    }
}

static void post_begin(struct trash *t);

static void sweep_done(void *arg)
{
    struct sweep *s = arg;
    struct trash *t = s->trash;

    strv_free(s->names);
    free(s);
    t->working = false;
    if (t->freed)
        destroy(t);
    else if (t->waiting)
        post_begin(t);
}

static void begin(void *arg)
{
    struct trash *t = arg;
    struct sweep *s = xnew(struct sweep);

    t->posted = false;
    s->trash = t;
    s->names = take_ptr(t->waiting);
    t->working = true;
    loop_work(t->loop, sweep_work, sweep_done, s);
}

/* On the next turn of the loop, so that what is thrown away together is one sweep. */
static void post_begin(struct trash *t)
{
    t->posted = true;
    loop_post(t->loop, begin, t);
}

void trash_delete(struct trash *t, const char *name)
{
    strv_push(&t->waiting, name);
    if (!t->working && !t->posted)
        post_begin(t);
}

int trash_move(struct trash *t, int dirfd, const char *name)
{
    _cleanup_free_ char *target = trash_name_new("trash");

    if (renameat(dirfd, name, t->dirfd, target) < 0)
        return errno == ENOENT ? 0 : -errno;
    trash_delete(t, target);
    return 0;
}
