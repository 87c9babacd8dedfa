/*
 * spare.c - writable layers made in advance.
 *
 * Making three directories may take longer than all the rest of a container's root file system:
 * ext4 does not give out inodes again that were freed in the last seconds, and where containers
 * come and go it searches long for others. So a few are made ahead, on a worker thread, and a
 * container's directory is a rename.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "store.h"

void spares_init(struct image_store *s)
{
    pthread_mutex_init(&s->spares.lock, NULL);
}

static bool is_dir(int dirfd, const char *path)
{
    struct stat st;

    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Before there are other threads. */
bool spare_adopt(struct image_store *s, const char *name)
{
    _cleanup_free_ char *upper = xasprintf("%s/upper", name);
    _cleanup_free_ char *work = xasprintf("%s/work", name);

    if (s->spares.n >= SPARES_MAX || !is_dir(s->containers_fd, upper) ||
        !is_dir(s->containers_fd, work))
        return false;
    s->spares.names[s->spares.n++] = xstrdup(name);
    return true;
}

void spares_free(struct image_store *s)
{
    for (size_t i = 0; i < s->spares.n; i++)
        free(s->spares.names[i]);
    s->spares.n = 0;
}

char *spare_take(struct image_store *s)
{
    char *name = NULL;

    pthread_mutex_lock(&s->spares.lock);
    if (s->spares.n > 0)
        name = s->spares.names[--s->spares.n];
    pthread_mutex_unlock(&s->spares.lock);
    return name;
}

static size_t count(struct image_store *s)
{
    pthread_mutex_lock(&s->spares.lock);
    size_t n = s->spares.n;
    pthread_mutex_unlock(&s->spares.lock);
    return n;
}

/* NULL when it fails: then containers make their own, and say why that does not work. */
static char *make_one(struct image_store *s)
{
    _cleanup_free_ char *random = trash_name_new("");
    _cleanup_free_ char *name = xasprintf(SPARE_PREFIX "%s", random);
    _cleanup_free_ char *upper = xasprintf("%s/upper", name);
    _cleanup_free_ char *work = xasprintf("%s/work", name);

    if (mkdirat(s->containers_fd, name, 0700) < 0 || mkdirat(s->containers_fd, upper, 0700) < 0 ||
        mkdirat(s->containers_fd, work, 0700) < 0)
        return NULL;
    return take_ptr(name);
}

static void fill_work(void *arg)
{
    struct image_store *s = arg;
    char *name = NULL;

    while (count(s) < SPARES_MAX && (name = make_one(s))) {
        /* Nobody else adds. */
        pthread_mutex_lock(&s->spares.lock);
        s->spares.names[s->spares.n++] = name;
        pthread_mutex_unlock(&s->spares.lock);
    }
    s->spares.failed = !name;
}

static void fill_done(void *arg)
{
    struct image_store *s = arg;

    s->spares.filling = false;
    /* They may have gone again while nobody looked. After a failure the next container is time
     * enough. */
    if (!s->spares.failed)
        spares_fill(s);
}

void spares_fill(struct image_store *s)
{
    if (s->spares.filling || s->closed || count(s) > SPARES_MAX / 2)
        return;
    s->spares.filling = true;
    store_work(s, fill_work, fill_done, s);
}
