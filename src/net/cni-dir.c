/*
 * cni-dir.c - the directory that declares the network.
 *
 * Of all regular files (and links to such) that end in .conf, .conflist or .json and do not begin
 * with a dot, the first by name counts, and no other; one that declares loopback alone is passed
 * over. Who has broken the first is told so, instead of getting another network by surprise, and
 * the configuration of before goes on being used. Where there is no file any more, there is no
 * network.
 *
 * Read on a worker thread a moment after inotify has reported anything. A directory that is missing
 * is looked for by its parent's watch, and again whenever somebody asks for the state.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "cni-dir.h"

#define SETTLE_MS 50 /* several events are one change */
#define LOOK_AGAIN_NS (2 * NS_PER_SEC)
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB |            \
     IN_DELETE_SELF | IN_MOVE_SELF)

struct scan {
    struct cni_dir *owner; /* NULL: closed meanwhile */
    char *path;
    char *file;            /* path of the first file; NULL: there is none */
    struct cni_conf *conf; /* NULL: *error says why */
    struct err error;
};

struct cni_dir {
    struct loop *loop;
    char *path;
    int inotify; /* owned; -1: changes are not noticed */
    struct io *io;
    struct timer *timer;
    struct scan *scan; /* under way */
    bool again;
    int64_t looked_at; /* monotonic */
    struct cni_conf *conf;
    char *file;       /* that conf is from */
    struct err error; /* why the first file is not used, or why there is none */
    void (*fn)(void *arg);
    void *arg;
};

/* ---- Reading --------------------------------------------------------------------------------- */

static void scan_free(struct scan *s)
{
    free(s->path);
    free(s->file);
    cni_conf_unref(s->conf);
    err_clear(&s->error);
    free(s);
}

static bool is_configuration(int dirfd, const char *name)
{
    struct stat st;

    return name[0] != '.' &&
           (str_ends_with(name, ".conf") || str_ends_with(name, ".conflist") ||
            str_ends_with(name, ".json")) &&
           fstatat(dirfd, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_files(const char *path, char ***ret, struct err *e)
{
    DIR *dir = opendir(path);

    if (!dir)
        return err_set(e, ERR_FAILED_PRECONDITION, "no CNI configuration: open %s: %m", path);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (is_configuration(dirfd(dir), entry->d_name))
            strv_push(ret, entry->d_name);
    closedir(dir);
    if (*ret)
        qsort(*ret, strv_len(*ret), sizeof(**ret), by_name);
    return 0;
}

/* Other runtimes want a network that is lo and nothing else declared; podd's pods have that anyway.
 */
static bool is_loopback(const struct cni_conf *c)
{
    return json_array_size(c->plugins) == 1 &&
           str_equal(cni_plugin_type(json_array_get(c->plugins, 0)), "loopback");
}

static int read_one(struct scan *s, const char *name)
{
    _cleanup_bytes_ struct bytes text = {0};

    free(s->file);
    s->file = xasprintf("%s/%s", s->path, name);
    if (file_read(AT_FDCWD, s->file, CNI_CONF_MAX, &text, &s->error) < 0)
        return -1;
    return cni_conf_parse(text.data, text.len, s->file, &s->conf, &s->error);
}

static void scan_work(void *arg)
{
    struct scan *s = arg;
    _cleanup_strv_ char **files = NULL;

    if (list_files(s->path, &files, &s->error) < 0)
        return;
    for (size_t i = 0; i < strv_len(files); i++) {
        if (read_one(s, files[i]) < 0 || !is_loopback(s->conf))
            return;
        cni_conf_unref(take_ptr(s->conf));
        free(take_ptr(s->file));
    }
    err_set(&s->error, ERR_FAILED_PRECONDITION,
            "no CNI configuration: no .conflist, .conf or .json in %s declares a network", s->path);
}

/* ---- Taking over ----------------------------------------------------------------------------- */

static void log_conf(const struct cni_dir *d)
{
    _cleanup_strbuf_ struct strbuf types = {0};

    for (size_t i = 0; i < json_array_size(d->conf->plugins); i++)
        strbuf_addf(&types, "%s%s", i > 0 ? ", " : "",
                    cni_plugin_type(json_array_get(d->conf->plugins, i)));
    log_info("net", NULL, "CNI network %s of %s, version %s: %s", d->conf->name, d->file,
             cni_version_text[d->conf->version], types.data);
}

/* True when anything is another now. */
static bool take_over(struct cni_dir *d, struct scan *s)
{
    if (s->conf) {
        bool same =
            d->conf && str_equal(d->file, s->file) && json_equal(d->conf->list, s->conf->list);
        bool healed = d->error.code != ERR_OK;
        err_clear(&d->error);
        if (same)
            return healed;
        cni_conf_unref(d->conf);
        d->conf = take_ptr(s->conf);
        free(d->file);
        d->file = take_ptr(s->file);
        log_conf(d);
        return true;
    }
    bool gone = !s->file && d->conf;
    if (!gone && str_equal(err_text(&d->error), err_text(&s->error)))
        return false;
    if (gone) {
        cni_conf_unref(take_ptr(d->conf));
        free(take_ptr(d->file));
    }
    log_error("net", NULL, "%s%s%s", err_text(&s->error),
              d->conf ? "; still used is what was read of " : "", d->conf ? d->file : "");
    err_clear(&d->error);
    err_move(&d->error, &s->error);
    return true;
}

static struct scan *scan_new(struct cni_dir *d)
{
    struct scan *s = xnew(struct scan);

    s->owner = d;
    s->path = xstrdup(d->path);
    return s;
}

static void on_scanned(void *arg)
{
    struct scan *s = arg;
    struct cni_dir *d = s->owner;

    if (!d) {
        scan_free(s);
        return;
    }
    d->scan = NULL;
    if (d->again)
        timer_start(d->timer, SETTLE_MS);
    d->again = false;
    bool changed = take_over(d, s);
    scan_free(s);
    if (changed)
        d->fn(d->arg);
}

/* ---- Watching -------------------------------------------------------------------------------- */

/* The same directory twice is one watch. */
static void watch_directories(struct cni_dir *d)
{
    _cleanup_free_ char *parent = xstrdup(d->path);
    char *slash = strrchr(parent, '/');

    if (d->inotify < 0)
        return;
    (void)inotify_add_watch(d->inotify, d->path, EVENTS | IN_ONLYDIR);
    *(slash == parent ? slash + 1 : slash) = '\0';
    (void)inotify_add_watch(d->inotify, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static void on_timer(void *arg)
{
    struct cni_dir *d = arg;

    if (d->scan) {
        d->again = true;
        return;
    }
    watch_directories(d);
    d->looked_at = time_mono_ns();
    d->scan = scan_new(d);
    loop_work(d->loop, scan_work, on_scanned, d->scan);
}

static void on_inotify(void *arg, unsigned events)
{
    struct cni_dir *d = arg;
    char buffer[4096] __attribute__((aligned(8)));

    while (read(d->inotify, buffer, sizeof(buffer)) > 0)
        continue; /* whatever it was, all is looked at */
    timer_start(d->timer, SETTLE_MS);
}

struct cni_dir *cni_dir_open(struct loop *loop, const char *path, void (*fn)(void *arg), void *arg)
{
    struct cni_dir *d = xnew(struct cni_dir);

    d->loop = loop;
    d->path = xstrdup(path);
    d->fn = fn;
    d->arg = arg;
    d->timer = timer_new(loop, on_timer, d);
    d->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (d->inotify < 0)
        log_error("net", NULL, "watch %s: inotify_init1: %m; its changes are not noticed", path);
    else
        d->io = io_new(loop, d->inotify, IO_READ, on_inotify, d);
    watch_directories(d);
    struct scan *first = scan_new(d);
    scan_work(first);
    take_over(d, first);
    scan_free(first);
    return d;
}

void cni_dir_close(struct cni_dir *d)
{
    if (!d)
        return;
    if (d->scan)
        d->scan->owner = NULL;
    io_free(d->io);
    fd_close(d->inotify);
    timer_free(d->timer);
    cni_conf_unref(d->conf);
    free(d->file);
    free(d->path);
    err_clear(&d->error);
    free(d);
}

struct cni_conf *cni_dir_conf(const struct cni_dir *d, struct err *e)
{
    if (!d->conf)
        err_copy(e, &d->error);
    return d->conf;
}

void cni_dir_look(struct cni_dir *d)
{
    if (!d->conf && time_mono_ns() - d->looked_at > LOOK_AGAIN_NS)
        timer_start(d->timer, 0);
}

const char *cni_dir_complaint(const struct cni_dir *d)
{
    return d->conf && d->error.code != ERR_OK ? err_text(&d->error) : NULL;
}
