/*
 * static_scan.c - reads a directory of manifests. Taken are regular files, and links to such, whose
 * names end in .yaml, .yml or .json and do not begin with a dot, which leaves out what editors make
 * while they write.
 */
#include "static_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

void static_file_free(struct static_file *f)
{
    if (!f)
        return;
    free(f->name);
    bytes_free(&f->text);
    free(f->unreadable);
    strv_free(f->pods);
    free(f->complaint);
    free(f);
}

struct static_scan *static_scan_new(void *owner, const char *dir)
{
    struct static_scan *scan = xnew(struct static_scan);

    scan->owner = owner;
    scan->dir = xstrdup(dir);
    return scan;
}

void static_scan_free(struct static_scan *scan)
{
    for (size_t i = 0; i < scan->n_files; i++)
        static_file_free(scan->files[i]);
    free(scan->files);
    free(scan->dir);
    err_clear(&scan->error);
    free(scan);
}

static bool is_manifest(int dirfd, const char *name)
{
    struct stat st;

    return name[0] != '.' &&
           (str_ends_with(name, ".yaml") || str_ends_with(name, ".yml") ||
            str_ends_with(name, ".json")) &&
           fstatat(dirfd, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static void read_one(struct static_scan *scan, int dirfd, const char *name)
{
    struct static_file *f = xnew(struct static_file);
    _cleanup_err_ struct err e = ERR_INIT;

    f->name = xstrdup(name);
    if (file_read(dirfd, name, YAML_MAX_SIZE, &f->text, &e) < 0)
        f->unreadable = xstrdup(err_text(&e));
    struct static_file **slot = array_push(&scan->files, &scan->n_files, sizeof(*slot));
    *slot = f;
}

static int by_name(const void *a, const void *b)
{
    const struct static_file *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

void static_scan_work(void *arg)
{
    struct static_scan *scan = arg;
    DIR *dir = opendir(scan->dir);

    if (!dir) {
        scan->missing = errno == ENOENT;
        if (!scan->missing)
            err_errno(&scan->error, errno, "read the directory of manifests %s", scan->dir);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (is_manifest(dirfd(dir), entry->d_name))
            read_one(scan, dirfd(dir), entry->d_name);
    closedir(dir);
    if (scan->n_files > 0)
        qsort(scan->files, scan->n_files, sizeof(*scan->files), by_name);
}
