/*
 * cdi.c - finds devices in the directories of the Container Device Interface.
 *
 * Nothing is read before somebody asks, and then only what stat(2) shows to be another file than
 * before: a few directories with a few small files, so it is done on the loop. A file that cannot
 * be read is kept with its error, which is told when what is asked for is not found elsewhere.
 */
#include "cdi.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ANNOTATION_PREFIX "cdi.k8s.io/"

struct cdi_file {
    char *path;
    size_t directory; /* its index: a later one has the last word */
    struct stat st;
    struct cdi_spec *spec; /* NULL: broken */
    struct err error;
    bool seen;
};

struct cdi {
    char **directories; /* strv */
    struct cdi_file **files;
    size_t n_files;
};

static void cdi_file_free(struct cdi_file *f)
{
    free(f->path);
    cdi_spec_free(f->spec);
    err_clear(&f->error);
    free(f);
}

struct cdi *cdi_new(char *const *directories)
{
    struct cdi *c = xnew(struct cdi);

    c->directories = strv_dup(directories, strv_len(directories));
    return c;
}

void cdi_free(struct cdi *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_files; i++)
        cdi_file_free(c->files[i]);
    free(c->files);
    strv_free(c->directories);
    free(c);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct cdi_file *file_of(struct cdi *c, const char *path, size_t directory)
{
    for (size_t i = 0; i < c->n_files; i++)
        if (str_equal(c->files[i]->path, path))
            return c->files[i];
    struct cdi_file *f = xnew(struct cdi_file);
    f->path = xstrdup(path);
    f->directory = directory;
    *(struct cdi_file **)array_push(&c->files, &c->n_files, sizeof(f)) = f;
    return f;
}

static void file_read_anew(struct cdi_file *f)
{
    _cleanup_bytes_ struct bytes text = {0};

    cdi_spec_free(take_ptr(f->spec));
    err_clear(&f->error);
    if (file_read(AT_FDCWD, f->path, YAML_MAX_SIZE, &text, &f->error) < 0)
        return;
    if (cdi_spec_parse(text.data, text.len, f->path, &f->spec, &f->error) < 0)
        log_warn("pod", NULL, "no device of this file can be used: %s", err_text(&f->error));
}

static void directory_read(struct cdi *c, size_t index)
{
    DIR *dir = opendir(c->directories[index]);

    if (!dir) {
        if (errno != ENOENT)
            log_warn("pod", NULL, "read the devices in %s: %m", c->directories[index]);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if ((!str_ends_with(entry->d_name, ".json") && !str_ends_with(entry->d_name, ".yaml")) ||
            fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
            continue;
        _cleanup_free_ char *path = xasprintf("%s/%s", c->directories[index], entry->d_name);
        struct cdi_file *f = file_of(c, path, index);
        f->seen = true;
        if (is_same(&f->st, &st))
            continue;
        f->st = st;
        file_read_anew(f);
    }
    closedir(dir);
}

static void refresh(struct cdi *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n_files; i++)
        c->files[i]->seen = false;
    for (size_t i = 0; i < strv_len(c->directories); i++)
        directory_read(c, i);
    for (size_t i = 0; i < c->n_files; i++)
        if (c->files[i]->seen)
            c->files[kept++] = c->files[i];
        else
            cdi_file_free(c->files[i]);
    c->n_files = kept;
}

/* ---- Finding -----------------------------------------------------------------------------------
 */

static const struct cdi_device *device_in(const struct cdi_file *f, const char *name)
{
    const char *equals = strchr(name, '=');
    size_t len = (size_t)(equals - name);

    if (!f->spec || strlen(f->spec->kind) != len || strncmp(f->spec->kind, name, len) != 0)
        return NULL;
    for (size_t i = 0; i < f->spec->devices.count; i++)
        if (str_equal(cdi_spec_device(f->spec, i)->name, equals + 1))
            return cdi_spec_device(f->spec, i);
    return NULL;
}

static int fail_missing(const struct cdi *c, const char *name, struct err *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};

    for (size_t i = 0; i < strv_len(c->directories); i++)
        strbuf_addf(&text, "%s%s", i ? ", " : "", c->directories[i]);
    for (size_t i = 0; i < c->n_files; i++)
        if (!c->files[i]->spec)
            strbuf_addf(&text, "; of no use is %s", err_text(&c->files[i]->error));
    return err_set(e, ERR_FAILED_PRECONDITION, "CDI device %s: no file describes it in %s", name,
                   text.data ? text.data : "no directory");
}

static int find_one(const struct cdi *c, const char *name, const struct cdi_file **ret_file,
                    const struct cdi_device **ret, struct err *e)
{
    const struct cdi_file *best = NULL, *twin = NULL;

    for (size_t i = 0; i < c->n_files; i++) {
        const struct cdi_file *f = c->files[i];
        if (!device_in(f, name) || (best && f->directory < best->directory))
            continue;
        twin = best && f->directory == best->directory ? best : NULL;
        best = f;
    }
    if (!best)
        return fail_missing(c, name, e);
    if (twin)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "CDI device %s: both %s and %s describe it; one of them has to go", name,
                       twin->path, best->path);
    *ret_file = best;
    *ret = device_in(best, name);
    return 0;
}

static void request_add(struct cdi_request *r, const struct cdi_edits *edits, const char *name)
{
    size_t count = r->count;

    for (size_t i = 0; i < r->count; i++)
        if (r->edits[i] == edits)
            return;
    *(const struct cdi_edits **)array_push(&r->edits, &r->count, sizeof(*r->edits)) = edits;
    *(const char **)array_push(&r->of, &count, sizeof(*r->of)) = name;
}

int cdi_find(struct cdi *c, char *const *devices, struct cdi_request *ret, struct err *e)
{
    struct cdi_request r = {0};

    refresh(c);
    for (size_t i = 0; i < strv_len(devices); i++) {
        const struct cdi_file *file = NULL;
        const struct cdi_device *device = NULL;
        if (find_one(c, devices[i], &file, &device, e) < 0) {
            cdi_request_clear(&r);
            return -1;
        }
        if (file->spec->edits)
            request_add(&r, file->spec->edits, devices[i]);
        request_add(&r, device->edits, devices[i]);
    }
    *ret = r;
    return 0;
}

void cdi_request_clear(struct cdi_request *r)
{
    free(r->edits);
    free(r->of);
    *r = (struct cdi_request){0};
}

/* ---- What is asked for -------------------------------------------------------------------------
 */

static int add_name(char ***names, const char *name, struct err *e)
{
    if (!cdi_name_is_valid(name))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "CDI device \"%s\": it must be named vendor.com/class=device", name);
    for (size_t i = 0; i < strv_len(*names); i++)
        if (str_equal((*names)[i], name))
            return 0;
    strv_push(names, name);
    return 0;
}

static int add_annotation(char ***names, const struct key_value *annotation, struct err *e)
{
    _cleanup_free_ char *copy = xstrdup(annotation->value);
    char *rest = NULL;

    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
        if (add_name(names, name, e) < 0)
            return err_wrap(e, "annotation %s", annotation->key);
    return 0;
}

int cdi_names(char *const *devices, const struct key_value *annotations, size_t n_annotations,
              char ***ret, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    for (size_t i = 0; i < strv_len(devices); i++)
        if (add_name(&names, devices[i], e) < 0)
            return -1;
    for (size_t i = 0; i < n_annotations; i++)
        if (str_starts_with(annotations[i].key, ANNOTATION_PREFIX) &&
            add_annotation(&names, &annotations[i], e) < 0)
            return -1;
    *ret = take_ptr(names);
    return 0;
}
