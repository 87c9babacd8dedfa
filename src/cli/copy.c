/*
 * copy.c - cp: files and directories into a container and out of it.
 *
 * The container's own tar packs or unpacks at its end, started by an exec; libarchive does so at
 * this end, on a worker thread, with a pipe between it and the exec's stream. What comes out of a
 * container is not trusted: only files, directories and links that stay below the target are
 * made, and nothing is written through a link.
 */
#include "command.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

enum { BLOCK = 64 << 10 };

/* One side: POD:PATH, NAMESPACE/POD:PATH, or a path here. */
struct place {
    char *namespace_, *pod; /* NULL: here */
    char *path;
};

static void place_free(struct place *p)
{
    free(p->namespace_);
    free(p->pod);
    free(p->path);
}

/* A path here may hold a colon behind a slash or when it begins with a dot. */
static struct place place_parse(const char *text)
{
    const char *colon = strchr(text, ':');
    const char *slash = strchr(text, '/');
    struct place p = {0};

    if (!colon || colon == text || text[0] == '.' || text[0] == '/') {
        p.path = xstrdup(text);
        return p;
    }
    bool with_namespace = slash && slash < colon;
    const char *pod = with_namespace ? slash + 1 : text;
    p.namespace_ = with_namespace ? xstrndup(text, (size_t)(slash - text)) : NULL;
    p.pod = xstrndup(pod, (size_t)(colon - pod));
    p.path = xstrdup(str_empty(colon + 1) ? "." : colon + 1);
    return p;
}

/* "/a/b/" -> "b"; "/" and "." stay what they are. The caller's. */
static char *base_name(const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    const char *slash = memrchr(path, '/', len);
    if (slash && len > 1)
        return xstrndup(slash + 1, len - (size_t)(slash + 1 - path));
    return xstrndup(path, len);
}

static char *directory_name(const char *path)
{
    _cleanup_free_ char *base = base_name(path);
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == strlen(base)) /* one component */
        return xstrdup(path[0] == '/' ? "/" : ".");
    return len - strlen(base) > 1 ? xstrndup(path, len - strlen(base) - 1) : xstrdup("/");
}

/* ---- The worker's half
 * ---------------------------------------------------------------------------- */

struct copy {
    int fd;             /* the worker's end of the pipe; closed when it is done */
    const char *path;   /* what is packed */
    const char *rename; /* what the archive's topmost name becomes; NULL: kept */
    size_t skipped;
    struct err e;
};

static int archive_failed(struct err *e, struct archive *a, const char *what)
{
    const char *text = archive_error_string(a);

    return err_set(e, ERR_UNKNOWN, "%s: %s", what, text ? text : "unknown error");
}

/* A link that could lead out of the target when somebody follows it later. */
static bool is_stray_link(struct archive_entry *entry)
{
    const char *link = archive_entry_symlink(entry);

    if (!link)
        return false;
    if (link[0] == '/')
        return true;
    for (const char *p = link; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

static bool is_wanted(struct archive_entry *entry)
{
    mode_t type = archive_entry_filetype(entry);

    return archive_entry_hardlink(entry) == NULL &&
           (type == AE_IFREG || type == AE_IFDIR || (type == AE_IFLNK && !is_stray_link(entry)));
}

/* Where an entry goes below the target, which is the working directory; NULL: nowhere. The
 * caller's. */
static char *entry_path(const struct copy *c, const char *name)
{
    while (str_starts_with(name, "./"))
        name += 2;
    if (name[0] == '/')
        return NULL;
    if (!c->rename)
        return xstrdup(str_empty(name) ? "." : name);
    return xasprintf("%s%s", c->rename, name + strcspn(name, "/"));
}

static int copy_data(struct archive *from, struct archive *to, struct err *e)
{
    const void *data;
    size_t len;
    la_int64_t offset;
    int r;

    while ((r = archive_read_data_block(from, &data, &len, &offset)) == ARCHIVE_OK)
        if (archive_write_data_block(to, data, len, offset) < ARCHIVE_OK)
            return archive_failed(e, to, "write");
    return r == ARCHIVE_EOF ? 0 : archive_failed(e, from, "read the container's archive");
}

static int extract_entry(struct copy *c, struct archive *from, struct archive *to,
                         struct archive_entry *entry)
{
    _cleanup_free_ char *path = entry_path(c, archive_entry_pathname(entry));

    if (!path || !is_wanted(entry)) {
        c->skipped++;
        return 0;
    }
    archive_entry_set_pathname(entry, path);
    if (archive_write_header(to, entry) < ARCHIVE_WARN)
        return archive_failed(&c->e, to, path);
    if (archive_entry_size(entry) > 0 && copy_data(from, to, &c->e) < 0)
        return -1;
    return archive_write_finish_entry(to) < ARCHIVE_WARN ? archive_failed(&c->e, to, path) : 0;
}

/* On a worker thread. */
static void extract(void *arg)
{
    struct copy *c = arg;
    struct archive *from = archive_read_new();
    struct archive *to = archive_write_disk_new();
    struct archive_entry *entry;
    int r = ARCHIVE_OK, status = 0;

    archive_read_support_format_tar(from);
    archive_write_disk_set_options(
        to, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_UNLINK |
                ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS |
                ARCHIVE_EXTRACT_SECURE_SYMLINKS);
    if (archive_read_open_fd(from, c->fd, BLOCK) != ARCHIVE_OK)
        status = archive_failed(&c->e, from, "read the container's archive");
    while (status == 0 && (r = archive_read_next_header(from, &entry)) == ARCHIVE_OK)
        status = extract_entry(c, from, to, entry);
    if (status == 0 && r != ARCHIVE_EOF)
        archive_failed(&c->e, from, "read the container's archive");
    archive_write_free(to);
    archive_read_free(from);
    fd_close(take_fd(&c->fd));
}

static int pack_file(struct archive *to, struct archive_entry *entry, struct err *e)
{
    const char *path = archive_entry_sourcepath(entry);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_free_ char *block = xmalloc(BLOCK);
    ssize_t n;

    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    while ((n = read(fd, block, BLOCK)) > 0)
        if (archive_write_data(to, block, (size_t)n) < 0)
            return archive_failed(e, to, path);
    return n < 0 ? err_errno(e, errno, "read %s", path) : 0;
}

static int pack_entry(struct copy *c, struct archive *to, struct archive_entry *entry)
{
    const char *below = archive_entry_pathname(entry) + strlen(c->path);
    _cleanup_free_ char *name =
        xasprintf("%s%s%s", c->rename, *below && *below != '/' ? "/" : "", below);
    archive_entry_set_pathname(entry, name);
    if (archive_entry_filetype(entry) == AE_IFSOCK) {
        c->skipped++;
        return 0;
    }
    if (archive_write_header(to, entry) < ARCHIVE_WARN)
        return archive_failed(&c->e, to, name);
    return archive_entry_filetype(entry) == AE_IFREG && archive_entry_size(entry) > 0
               ? pack_file(to, entry, &c->e)
               : 0;
}

static int pack_tree(struct copy *c, struct archive *disk, struct archive *to)
{
    struct archive_entry *entry = archive_entry_new();
    int r, status = 0;

    while (status == 0 && (r = archive_read_next_header2(disk, entry)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN) {
            status = archive_failed(&c->e, disk, c->path);
            break;
        }
        status = pack_entry(c, to, entry);
        archive_read_disk_descend(disk);
    }
    archive_entry_free(entry);
    return status;
}

/* On a worker thread. */
static void pack(void *arg)
{
    struct copy *c = arg;
    struct archive *disk = archive_read_disk_new();
    struct archive *to = archive_write_new();

    archive_read_disk_set_symlink_physical(disk);
    archive_read_disk_set_standard_lookup(disk);
    archive_write_set_format_pax_restricted(to);
    archive_write_set_bytes_in_last_block(to, 1);
    if (archive_read_disk_open(disk, c->path) != ARCHIVE_OK)
        archive_failed(&c->e, disk, c->path);
    else if (archive_write_open_fd(to, c->fd) != ARCHIVE_OK)
        archive_failed(&c->e, to, "write the archive");
    else if (pack_tree(c, disk, to) == 0 && archive_write_close(to) != ARCHIVE_OK)
        archive_failed(&c->e, to, "write the archive");
    archive_write_free(to);
    archive_read_free(disk);
    fd_close(take_fd(&c->fd));
}

/* ---- The two directions
 * --------------------------------------------------------------------------- */

struct worker {
    struct copy *copy;
    void (*run)(void *);
    struct loop *loop;
    bool done, waited_for;
};

static void worker_run(void *arg)
{
    struct worker *w = arg;

    w->run(w->copy);
}

static void worker_finish(void *arg)
{
    struct worker *w = arg;

    w->done = true;
    if (w->waited_for)
        loop_stop(w->loop); /* else the loop is the exec's, which goes on */
}

/* The exec is the loop's, the archive a worker's; both end when the other's end of the pipe does.
 */
static int run_both(struct cli *cli, struct copy *c, void (*work)(void *), struct command *command)
{
    struct worker worker = {.copy = c, .run = work};
    int ends[2], status;
    bool into = work == pack;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        err_errno(&c->e, errno, "make a pipe");
        return cli_fail(&c->e);
    }
    cli_connect(cli);
    worker.loop = cli->loop;
    c->fd = ends[into ? 1 : 0];
    if (into)
        command->stdin_fd = ends[0];
    else
        command->stdout_fd = ends[1];
    signal(SIGPIPE, SIG_IGN); /* the half that is left says what is wrong */
    loop_work(cli->loop, worker_run, worker_finish, &worker);
    status = command_run(cli, command);
    fd_close(ends[into ? 0 : 1]);
    worker.waited_for = true;
    if (!worker.done)
        loop_run(cli->loop);
    if (c->skipped)
        fprintf(stderr, "podctl: cp: %zu special files and links out of the tree were left out\n",
                c->skipped);
    return status != EXIT_OK || c->e.code == ERR_OK ? status : cli_fail(&c->e);
}

/* Makes the directory that takes what comes the working directory: the archive's names are then
 * below it, whatever links lead to it. What of the name is left is the copy's new name. */
static int enter_target(struct copy *c, const char *to, bool whole_directory, char **ret_rename)
{
    struct stat st;
    bool exists = stat(to, &st) == 0 && S_ISDIR(st.st_mode);

    if (whole_directory && !exists && dir_ensure(to, 0755, &c->e) < 0)
        return -1;
    bool into = exists || whole_directory;
    _cleanup_free_ char *directory = into ? xstrdup(to) : directory_name(to);
    if (chdir(directory) < 0)
        return err_errno(&c->e, errno, "%s", directory);
    *ret_rename = into ? NULL : base_name(to);
    return 0;
}

static int copy_out(struct cli *cli, struct command *command, const struct place *from,
                    const char *to)
{
    _cleanup_free_ char *directory = directory_name(from->path), *base = base_name(from->path);
    _cleanup_free_ char *new_name = NULL;
    char *argv[] = {"tar", "cf", "-", "-C", directory, base, NULL};
    bool whole_directory = str_equal(base, ".") || str_equal(base, "/");
    struct copy c = {.fd = -1};
    int status;

    if (enter_target(&c, to, whole_directory, &new_name) < 0) {
        status = cli_fail(&c.e);
    } else {
        if (str_equal(base, "/"))
            argv[5] = ".";
        c.rename = new_name;
        command->argv = argv;
        command->argc = ARRAY_SIZE(argv) - 1;
        status = run_both(cli, &c, extract, command);
    }
    err_clear(&c.e);
    return status;
}

/* Like cp: into a directory that is there, else under the new name. The container is asked. */
static bool is_directory_there(struct cli *cli, const char *container_id, const char *path)
{
    Runtime__V1__ExecSyncRequest request = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    char *argv[] = {"test", "-d", (char *)path, NULL};
    int status = EXIT_OK;

    request.container_id = (char *)container_id;
    request.cmd = argv;
    request.n_cmd = ARRAY_SIZE(argv) - 1;
    request.timeout = 10;
    _cleanup_message_ Runtime__V1__ExecSyncResponse *answer =
        cli_call_runtime(cli, "ExecSync", &request.base, &status);
    return answer && answer->exit_code == 0;
}

static int copy_in(struct cli *cli, struct command *command, const char *from,
                   const struct place *to)
{
    bool into_directory = is_directory_there(cli, command->container_id, to->path);
    _cleanup_free_ char *directory = into_directory ? xstrdup(to->path) : directory_name(to->path);
    _cleanup_free_ char *name = base_name(into_directory ? from : to->path);
    char *argv[] = {"tar", "xf", "-", "-C", directory, NULL};
    struct copy c = {.fd = -1, .path = from, .rename = name};

    if (access(from, R_OK) < 0) {
        err_errno(&c.e, errno, "%s", from);
        int status = cli_fail(&c.e);
        err_clear(&c.e);
        return status;
    }
    command->argv = argv;
    command->argc = ARRAY_SIZE(argv) - 1;
    int status = run_both(cli, &c, pack, command);
    err_clear(&c.e);
    return status;
}

static int copy_between(struct cli *cli, const struct place *from, const struct place *to,
                        const char *container)
{
    const struct place *there = from->pod ? from : to;
    int status = EXIT_OK;

    if (!from->pod == !to->pod)
        return cli_usage("cp: one side must be POD:PATH, the other a path here");
    if (there->namespace_)
        cli->namespace_ = there->namespace_;
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, there->pod, &status);
    if (!answer)
        return status;
    const Podd__V1__ContainerStatus *c = pick_container(answer->pod, container, &status);
    if (!c)
        return status;
    struct command command = {.container_id = c->container_id,
                              .stdin_fd = -1,
                              .stdout_fd = STDERR_FILENO,
                              .stderr_fd = STDERR_FILENO};
    return from->pod ? copy_out(cli, &command, from, to->path)
                     : copy_in(cli, &command, from->path, to);
}

int cmd_cp(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const char *container = NULL;
    const struct option_spec options[] = {{"--container", 'c', .value = &container}};

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("cp: %s", err_text(&e));
    if (argc != 2)
        return cli_usage("cp: podctl cp FROM TO [-c CONTAINER], one of them as POD:PATH");
    struct place from = place_parse(argv[0]), to = place_parse(argv[1]);
    int status = copy_between(cli, &from, &to, container);
    place_free(&from);
    place_free(&to);
    return status;
}
