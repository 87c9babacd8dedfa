/*
 * archive_docker.c - archives as "docker save" writes them: manifest.json lists images with their
 * names, a configuration file, and layer files. Nothing names the digests of the layer files; the
 * configuration's diff_ids are what they are checked against.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "image_archive.h"
#include "json.h"

/* The RepoTags of an item in canonical form. */
static char **item_names(const json_t *item, bool *bad)
{
    _cleanup_strv_ char **tags = json_get_texts(item, "RepoTags", bad);
    char **names = NULL;

    for (char **tag = tags; tag && *tag; tag++) {
        _cleanup_err_ struct err ignored = ERR_INIT;
        struct image_ref ref;
        if (image_ref_parse(*tag, &ref, &ignored) < 0)
            continue;
        _cleanup_free_ char *full = image_ref_format(&ref);
        image_ref_clear(&ref);
        strv_push(&names, full);
    }
    return names;
}

static bool has_name(char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (str_equal(*names, name))
            return true;
    return false;
}

static const json_t *choose_item(const json_t *list, const char *name, struct err *e)
{
    size_t i;
    json_t *item;

    if (name)
        json_array_foreach(list, i, item)
        {
            bool bad = false;
            _cleanup_strv_ char **names = item_names(item, &bad);
            if (has_name(names, name))
                return item;
        }
    if (json_array_size(list) != 1) {
        err_set(e, ERR_INVALID_ARGUMENT,
                "the archive holds %zu images; choose one of them by its name",
                json_array_size(list));
        return NULL;
    }
    return json_array_get(list, 0);
}

static int add_layer(int root, const char *path, struct archive_image *a, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = archive_open(root, path, e);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat the archive's \"%.200s\"", path);
    struct archive_layer *l = array_push(&a->layers, &a->n_layers, sizeof(*l));
    l->path = xstrdup(path);
    l->size = (uint64_t)st.st_size;
    return 0;
}

int archive_read_docker(int root, const char *name, struct archive_image *ret, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    struct bytes config = {0};
    bool bad = false;

    if (archive_read_file(root, "manifest.json", MANIFEST_MAX, &text, e) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_load_strict(text.data, text.len, "manifest.json", e);
    const json_t *item = list ? choose_item(list, name, e) : NULL;
    if (!item)
        return -1;
    const char *config_path = json_get_text(item, "Config", &bad);
    _cleanup_strv_ char **layers = json_get_texts(item, "Layers", &bad);
    ret->names = item_names(item, &bad);
    if (bad || !config_path || strv_len(layers) > LAYERS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "the archive's manifest.json is malformed");
    if (archive_read_file(root, config_path, CONFIG_MAX, &config, e) < 0 ||
        archive_take_config(ret, &config, e) < 0)
        return -1;
    for (char **path = layers; path && *path; path++)
        if (add_layer(root, *path, ret, e) < 0)
            return -1;
    return 0;
}
