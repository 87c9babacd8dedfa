/*
 * Finds out how cgroups are mounted here, once per process.
 *
 * Three shapes exist: v1 hierarchies alone, a v2 tree alone, and "hybrid", v1 hierarchies for the
 * controllers beside a v2 tree that holds few or none. They are told from /proc/self/mountinfo,
 * not guessed from paths. In the hybrid shape controllers live on v1, while the v2 tree does what
 * it does without any controller: it names the processes (a clone can be born into it, one write
 * kills all of it, it reports when it is empty). The root directories are kept open, and all
 * work below them is relative to these descriptors.
 *
 * The named hierarchy "name=systemd" carries no controller. It is used only where no v2 tree is,
 * because there systemd finds a unit's processes by it; with a v2 tree systemd looks there.
 */
#include "cgroup-layout.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

static struct cgroup_layout layout_found;
static pthread_once_t layout_once = PTHREAD_ONCE_INIT;

static char **controllers_split(const char *text, const char *separators)
{
    char **v = NULL;
    _cleanup_free_ char *copy = xstrdup(text);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, separators));)
        if (*word)
            strv_push(&v, word);
    return v;
}

static bool option_is_controller(const char *option)
{
    static const char *const others[] = {
        "rw",          "ro",       "xattr",          "noprefix",
        "all",         "seclabel", "clone_children", "cpuset_v2_mode",
        "favordynmods"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (str_equal(option, others[i]))
            return false;
    return !str_starts_with(option, "release_agent=");
}

static void hierarchy_add(struct cgroup_layout *l, const char *mount_point, const char *options)
{
    _cleanup_strv_ char **all = controllers_split(options, ",");
    _cleanup_strv_ char **controllers = NULL;
    _cleanup_strbuf_ struct strbuf name = {0};
    for (size_t i = 0; i < strv_len(all); i++) {
        if (!option_is_controller(all[i]))
            continue;
        strv_push(&controllers, all[i]);
        if (name.len)
            strbuf_adds(&name, ",");
        strbuf_adds(&name, all[i]);
    }
    if (!name.len)
        return;
    for (size_t i = 0; i < l->n_v1; i++)
        if (str_equal(l->v1[i].name, name.data))
            return; /* mounted a second time */
    int fd = open(mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return; /* mounted over, or not ours to see */
    struct cgroup_hierarchy *h = array_push(&l->v1, &l->n_v1, sizeof(*h));
    *h = (struct cgroup_hierarchy){.name = strbuf_take(&name),
                                   .mount_point = xstrdup(mount_point),
                                   .controllers = take_ptr(controllers),
                                   .root_fd = fd};
}

static void v2_add(struct cgroup_layout *l, const char *mount_point)
{
    if (l->v2_root_fd >= 0)
        return;
    l->v2_root_fd = open(mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (l->v2_root_fd < 0)
        return;
    l->v2_mount_point = xstrdup(mount_point);
    char text[512];
    if (cgroup_file_read(l->v2_root_fd, "cgroup.controllers", text, sizeof(text)) >= 0)
        l->v2_controllers = controllers_split(text, " \n");
}

/* "36 35 0:31 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu" */
static void mountinfo_line(struct cgroup_layout *l, char *line)
{
    char *tail = strstr(line, " - ");
    if (!tail)
        return;
    *tail = '\0';
    char *mount_point = line, *type = tail + 3;
    for (int field = 0; field < 4 && mount_point; field++)
        strsep(&mount_point, " ");
    mount_point = strsep(&mount_point, " ");
    char *rest = type;
    strsep(&rest, " ");
    strsep(&rest, " "); /* the source */
    const char *options = rest;
    if (!mount_point || !options)
        return;
    if (str_equal(type, "cgroup"))
        hierarchy_add(l, mount_point, options);
    else if (str_equal(type, "cgroup2"))
        v2_add(l, mount_point);
}

/* Drops the hierarchies without a controller where the v2 tree makes them needless. */
static void named_drop(struct cgroup_layout *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n_v1; i++) {
        if (!str_starts_with(l->v1[i].name, "name=")) {
            l->v1[kept++] = l->v1[i];
            continue;
        }
        free(l->v1[i].name);
        free(l->v1[i].mount_point);
        strv_free(l->v1[i].controllers);
        fd_close(l->v1[i].root_fd);
    }
    l->n_v1 = kept;
}

static void layout_probe(void)
{
    struct cgroup_layout *l = &layout_found;
    l->v2_root_fd = -1;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (f) {
        char *line = NULL;
        size_t cap = 0;
        while (getline(&line, &cap, f) >= 0) {
            line[strcspn(line, "\n")] = '\0';
            mountinfo_line(l, line);
        }
        free(line);
        fclose(f);
    }
    if (l->v2_root_fd >= 0)
        named_drop(l);
    l->mode = l->n_v1 == 0 ? CGROUP_V2 : l->v2_root_fd >= 0 ? CGROUP_HYBRID : CGROUP_V1;
}

const struct cgroup_layout *cgroup_layout(void)
{
    pthread_once(&layout_once, layout_probe);
    return &layout_found;
}

int cgroup_layout_v1_index(const struct cgroup_layout *layout, const char *controller)
{
    for (size_t i = 0; i < layout->n_v1; i++)
        for (size_t k = 0; k < strv_len(layout->v1[i].controllers); k++)
            if (str_equal(layout->v1[i].controllers[k], controller))
                return (int)i;
    return -1;
}

enum cgroup_mode cgroup_mode(void)
{
    return cgroup_layout()->mode;
}

bool cgroup_has_controller(const char *name)
{
    const struct cgroup_layout *l = cgroup_layout();
    /* One controller, two names. */
    const char *v1_name = str_equal(name, "io") ? "blkio" : name;
    const char *v2_name = str_equal(name, "blkio") ? "io" : name;
    if (cgroup_layout_v1_index(l, v1_name) >= 0)
        return true;
    for (size_t i = 0; i < strv_len(l->v2_controllers); i++)
        if (str_equal(l->v2_controllers[i], v2_name))
            return true;
    return false;
}

int cgroup_path_check(const char *path, char **ret, struct err *e)
{
    _cleanup_strbuf_ struct strbuf clean = {0};
    if (!path || path[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "cgroup path \"%s\" is not absolute",
                       path ? path : "");
    for (const char *p = path; *p;) {
        p += strspn(p, "/");
        size_t len = strcspn(p, "/");
        if (!len)
            break;
        if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.') || len > 255)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "cgroup path \"%s\": \"%.*s\" is not a name of a cgroup", path, (int)len,
                           p);
        if (clean.len)
            strbuf_adds(&clean, "/");
        strbuf_add(&clean, p, len);
        p += len;
    }
    if (!clean.len)
        return err_set(e, ERR_INVALID_ARGUMENT, "cgroup path \"%s\" is the root", path);
    *ret = strbuf_take(&clean);
    return 0;
}
