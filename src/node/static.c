/*
 * static.c - pods declared by files.
 *
 * Whenever inotify says that something happened in the directory, and a moment has passed, all of
 * it is read on a worker thread (static_scan.c). A file whose text is another one than before is
 * parsed, and applied as by a call. A pod's record holds the name of its file (`source`), so
 * nothing else has to be kept to know, after a restart too, whose file has gone: those pods are
 * deleted, and so are those that a good file names no longer. A broken file changes nothing. When
 * the directory itself is missing its pods stay as they are: it is more likely not mounted than
 * meant.
 */
#include "static.h"

#include "static_scan.h"

#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_MS 50  /* several events are one change */
#define RETRY_MS 5000 /* when a good file cannot be applied for now */
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB)

struct static_pods {
    struct node *node;
    char *dir;
    int inotify;
    struct io *io;
    struct timer *timer;
    struct map *files;        /* name -> struct static_file */
    struct static_scan *scan; /* under way; NULL: none */
    bool again;               /* something has happened since it began */
    size_t applying;
    bool missing; /* the directory was not there when last looked for */
};

/* ---- Whose pod it is ---------------------------------------------------------------------------
 */

int static_check_owner(const struct declared *d, struct err *e)
{
    if (!d->source || d->deleting)
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION,
                   "pod %s is declared by the file %s in podd's directory of manifests: change or "
                   "remove that",
                   d->key, d->source);
}

static bool names_pod(const struct static_file *f, const char *key)
{
    for (char **pod = f->pods; pod && *pod; pod++)
        if (str_equal(*pod, key))
            return true;
    return false;
}

/* The other file that names the pod, or did before it broke; NULL: none. */
static const char *other_file(struct static_pods *s, const struct static_file *f, const char *key)
{
    const struct declared *d = map_get(s->node->pods, key);
    size_t cursor = 0;
    const char *name;
    void *file;

    while (map_next(s->files, &cursor, &name, &file))
        if (file != f && names_pod(file, key))
            return name;
    if (!d || d->deleting || !d->source || str_equal(d->source, f->name))
        return NULL;
    /* After a restart a file that has not been good yet still owns its pods. */
    const struct static_file *owner = map_get(s->files, d->source);
    return owner && !owner->good ? owner->name : NULL;
}

static int check_claim(struct static_pods *s, const struct static_file *f, const char *key,
                       struct err *e)
{
    const struct declared *d = map_get(s->node->pods, key);
    const char *other = other_file(s, f, key);

    if (other)
        return err_set(e, ERR_ALREADY_EXISTS, "pod %s is declared by the file %s already", key,
                       other);
    if (d && !d->deleting && !d->source)
        return err_set(e, ERR_ALREADY_EXISTS,
                       "pod %s was declared by an apply already; delete it, or rename this one",
                       key);
    return 0;
}

/* *ret: the keys of the pods in the text. Only pods can be declared by files. */
static int file_parse(struct static_pods *s, const struct static_file *f, char ***ret,
                      struct err *e)
{
    struct manifests found = {0};
    _cleanup_strv_ char **pods = NULL;

    if (f->unreadable)
        return err_set(e, ERR_UNKNOWN, "%s", f->unreadable);
    int r = manifests_parse(f->text.data, f->text.len, f->name, "default", &found, e);
    if (r == 0 && found.n_objects > 0)
        r = err_set(e, ERR_INVALID_ARGUMENT,
                    "%s: %s %s: only kind: Pod can be declared by a file here; podctl apply takes "
                    "the others",
                    f->name, object_kind_name(found.objects[0]->kind),
                    found.objects[0]->metadata->name);
    for (size_t i = 0; r == 0 && i < found.count; i++) {
        const struct pod_metadata *m = found.items[i]->metadata;
        _cleanup_free_ char *key = xasprintf("%s/%s", m->namespace_, m->name);
        strv_push(&pods, key);
        r = check_claim(s, f, key, e);
    }
    manifests_free(&found);
    if (r == 0)
        *ret = take_ptr(pods);
    return r;
}

/* ---- Applying ----------------------------------------------------------------------------------
 */

/* Says why once, until the reason is another one. */
static void file_complain(struct static_pods *s, struct static_file *f, const char *why)
{
    if (str_equal(f->complaint, why))
        return;
    free(f->complaint);
    f->complaint = xstrdup(why);
    log_error("node", NULL, "%s/%s is not applied: %s%s", s->dir, f->name, why,
              f->pods ? "; its pods stay as they are" : "");
    list_for_each (it, &s->node->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (str_equal(d->source, f->name) && declared_is_current(d))
            event_add(d, NULL, true, "ManifestBroken", "%s; the pod stays as it is", why);
    }
}

/* A fault of the text stays until the text changes; anything else may pass by itself. */
static void file_failed(struct static_pods *s, struct static_file *f, const struct err *e)
{
    file_complain(s, f, err_text(e));
    if (e->code == ERR_INVALID_ARGUMENT)
        return;
    f->tried = false;
    timer_start(s->timer, RETRY_MS);
}

struct applying {
    struct static_pods *owner;
    char *name;
};

static void on_applied(void *arg, const struct err *e)
{
    struct applying *a = arg;
    struct static_pods *s = a->owner;
    struct static_file *f = map_get(s->files, a->name);

    s->applying--;
    if (e->code == ERR_OK)
        timer_start(s->timer, SETTLE_MS); /* what it names no longer goes with the next look */
    else if (f)
        file_failed(s, f, e);
    free(a->name);
    free(a);
}

static void file_take_up(struct static_pods *s, struct static_file *f)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char **pods = NULL;

    f->tried = true;
    f->good = file_parse(s, f, &pods, &e) == 0;
    if (!f->good) {
        file_failed(s, f, &e);
        return;
    }
    free(take_ptr(f->complaint));
    strv_free(f->pods);
    f->pods = pods;
    struct applying *a = xnew(struct applying);
    a->owner = s;
    a->name = xstrdup(f->name);
    s->applying++;
    apply_file(s->node, f->name, &f->text, on_applied, a);
}

/* ---- What has changed --------------------------------------------------------------------------
 */

static bool same_text(const struct static_file *a, const struct static_file *b)
{
    return str_equal(a->unreadable, b->unreadable) && a->text.len == b->text.len &&
           (a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0);
}

/* Takes over what the scan has read of this file, unless it is what was known. */
static void file_merge(struct static_pods *s, struct static_file **slot)
{
    struct static_file *now = *slot, *before = map_get(s->files, now->name);

    if (before && same_text(before, now))
        return;
    *slot = NULL;
    if (before) {
        now->pods = take_ptr(before->pods);
        now->good = before->good;
    }
    map_put(s->files, now->name, now);
    static_file_free(before);
}

static bool was_seen(const struct static_scan *scan, const char *name)
{
    for (size_t i = 0; i < scan->n_files; i++)
        if (scan->files[i] && str_equal(scan->files[i]->name, name))
            return true;
    return false;
}

static void files_forget(struct static_pods *s, const struct static_scan *scan)
{
    size_t cursor = 0;
    const char *name;
    void *file;

    while (map_next(s->files, &cursor, &name, &file)) {
        if (was_seen(scan, name))
            continue;
        map_remove(s->files, name);
        static_file_free(file);
    }
}

/* Files are taken up in the order of their names, so that of two that name one pod it is the same
 * one that has it each time. */
static void files_take_up(struct static_pods *s, char *const *order)
{
    for (size_t i = 0; i < strv_len(order); i++) {
        struct static_file *f = map_get(s->files, order[i]);
        if (f && !f->tried)
            file_take_up(s, f);
    }
}

/* Deletes the pods whose file has gone, or is good and names them no longer. */
static void delete_orphans(struct static_pods *s)
{
    list_for_each (it, &s->node->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (!d->source || d->deleting || !declared_is_current(d))
            continue;
        const struct static_file *f = map_get(s->files, d->source);
        if (f && (!f->good || !f->tried || names_pod(f, d->key)))
            continue;
        log_info("node", d->key, "is not in %s/%s any more: deleted", s->dir, d->source);
        declared_delete(d, -1);
    }
}

/* ---- Watching ----------------------------------------------------------------------------------
 */

/* The same directory twice is one watch. The parent tells when a missing directory comes; when the
 * parent is missing too nobody tells, and the next start of podd finds it. */
static void watch_directories(struct static_pods *s)
{
    _cleanup_free_ char *parent = xstrdup(s->dir);
    char *slash = strrchr(parent, '/');

    (void)inotify_add_watch(s->inotify, s->dir, EVENTS | IN_ONLYDIR);
    *(slash == parent ? slash + 1 : slash) = '\0';
    (void)inotify_add_watch(s->inotify, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static void take_scan(struct static_pods *s, struct static_scan *scan)
{
    _cleanup_strv_ char **order = NULL;

    files_forget(s, scan);
    for (size_t i = 0; i < scan->n_files; i++) {
        strv_push(&order, scan->files[i]->name);
        file_merge(s, &scan->files[i]);
    }
    files_take_up(s, order);
    if (s->applying == 0)
        delete_orphans(s);
}

static void on_scanned(void *arg)
{
    struct static_scan *scan = arg;
    struct static_pods *s = scan->owner;

    if (!s) {
        static_scan_free(scan);
        return;
    }
    s->scan = NULL;
    if (scan->missing && !s->missing && map_count(s->files) > 0)
        log_warn("node", NULL, "%s is gone; the pods of its files stay as they are", s->dir);
    s->missing = scan->missing;
    if (scan->error.code != ERR_OK)
        log_error("node", NULL, "%s", err_text(&scan->error));
    else if (!scan->missing)
        take_scan(s, scan);
    static_scan_free(scan);
    if (s->again)
        timer_start(s->timer, SETTLE_MS);
    s->again = false;
}

static void on_timer(void *arg)
{
    struct static_pods *s = arg;

    if (s->scan) {
        s->again = true;
        return;
    }
    watch_directories(s);
    s->scan = static_scan_new(s, s->dir);
    loop_work(s->node->config.loop, static_scan_work, on_scanned, s->scan);
}

static void on_inotify(void *arg, unsigned events)
{
    struct static_pods *s = arg;
    char buffer[4096] __attribute__((aligned(8)));

    while (read(s->inotify, buffer, sizeof(buffer)) > 0)
        continue; /* whatever it was, all is looked at */
    timer_start(s->timer, SETTLE_MS);
}

struct static_pods *static_open(struct node *n, const char *dir)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0) {
        log_error("node", NULL, "watch %s: inotify_init1: %m; its files are not read", dir);
        return NULL;
    }
    struct static_pods *s = xnew(struct static_pods);
    s->node = n;
    s->dir = xstrdup(dir);
    s->inotify = fd;
    s->files = map_new();
    s->io = io_new(n->config.loop, fd, IO_READ, on_inotify, s);
    s->timer = timer_new(n->config.loop, on_timer, s);
    timer_start(s->timer, 0);
    return s;
}

void static_close(struct static_pods *s)
{
    size_t cursor = 0;
    const char *name;
    void *file;

    if (!s)
        return;
    if (s->scan)
        s->scan->owner = NULL;
    io_free(s->io);
    fd_close(s->inotify);
    timer_free(s->timer);
    while (map_next(s->files, &cursor, &name, &file))
        static_file_free(file);
    map_free(s->files);
    free(s->dir);
    free(s);
}
