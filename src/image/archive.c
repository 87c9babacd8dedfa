/*
 * archive.c - images in archives.
 *
 * The archive has been unpacked by the confined unpacker before anything of it is read, so what is
 * looked at here are files in a directory of strangers: opened inside of it, regular, and of
 * limited size. Layers in it are files that go through the unpacker once more.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image_archive.h"
#include "json.h"

void archive_image_clear(struct archive_image *a)
{
    strv_free(a->names);
    bytes_free(&a->config);
    image_document_clear(&a->document);
    for (size_t i = 0; i < a->n_layers; i++)
        free(a->layers[i].path);
    free(a->layers);
    *a = (struct archive_image){0};
}

int archive_open(int root, const char *path, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return err_errno(e, fd, "the archive's file \"%.200s\"", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID_ARGUMENT, "the archive's \"%.200s\" is not a regular file",
                       path);
    return take_fd(&fd);
}

int archive_read_file(int root, const char *path, size_t max, struct bytes *ret, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = archive_open(root, path, e);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat the archive's \"%.200s\"", path);
    if ((uint64_t)st.st_size > max)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "the archive's \"%.200s\" is larger than %zu bytes", path, max);
    ret->data = xmalloc((size_t)st.st_size + 1);
    ssize_t n = fd_read_full(fd, ret->data, (size_t)st.st_size);
    if (n < 0) {
        bytes_free(ret);
        return err_errno(e, (int)n, "read the archive's \"%.200s\"", path);
    }
    ret->data[n] = 0;
    ret->len = (size_t)n;
    return 0;
}

int archive_take_config(struct archive_image *a, struct bytes *config_take, struct err *e)
{
    struct platform machine = platform_of_machine();

    a->config = *config_take;
    *config_take = (struct bytes){0};
    digest_compute(a->config.data, a->config.len, a->config_digest);
    if (image_document_parse(a->config.data, a->config.len, &a->document, e) < 0)
        return -1;
    return image_document_check_platform(&a->document, &machine, e);
}

static bool has_file(int root, const char *path)
{
    struct stat st;

    return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* A root file system may have a file called manifest.json, too; docker's is a list of objects that
 * name a configuration. */
static bool is_docker_manifest(int root)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    _cleanup_bytes_ struct bytes text = {0};

    if (archive_read_file(root, "manifest.json", MANIFEST_MAX, &text, &ignored) < 0)
        return false;
    _cleanup_json_ json_t *j = json_load_strict(text.data, text.len, "manifest.json", &ignored);
    return json_is_string(json_object_get(json_array_get(j, 0), "Config"));
}

enum archive_kind archive_detect(int root)
{
    if (has_file(root, "oci-layout") && has_file(root, "index.json"))
        return ARCHIVE_OCI;
    if (has_file(root, "manifest.json") && is_docker_manifest(root))
        return ARCHIVE_DOCKER;
    return ARCHIVE_ROOTFS;
}

int archive_read_image(int root, enum archive_kind kind, const char *name,
                       struct archive_image *ret, struct err *e)
{
    struct archive_image image = {0};
    int r = kind == ARCHIVE_OCI ? archive_read_oci(root, name, &image, e)
                                : archive_read_docker(root, name, &image, e);

    if (r == 0 && strv_len(image.document.diff_ids) != image.n_layers)
        r = err_set(e, ERR_INVALID_ARGUMENT, "the manifest has %zu layers, the configuration %zu",
                    image.n_layers, strv_len(image.document.diff_ids));
    if (r < 0) {
        archive_image_clear(&image);
        return -1;
    }
    *ret = image;
    return 0;
}
