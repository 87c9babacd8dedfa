/* test-image-rootfs.c - root file systems of containers: overlays by each of the ways that kernels
 * ask for, and what becomes of them. Needs root; mounts stay in a namespace of the test. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "store.h"

enum { LAYERS = 3, MANY = 200 };

struct fixture {
    char root[64];
    struct loop *loop;
    struct image_store *store;
};

static void make_dir(const char *path)
{
    struct err e = ERR_INIT;

    if (dir_ensure(path, 0755, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void layer_name(int n, char ret[static DIGEST_HEX_LEN + 1])
{
    snprintf(ret, DIGEST_HEX_LEN + 1, "%064x", n + 1);
}

/* Layer n has the files "layer-n" and "top", which says n. */
static void make_layer(struct fixture *f, int n)
{
    struct err e = ERR_INIT;
    char hex[DIGEST_HEX_LEN + 1], name[64], path[256], text[16];

    layer_name(n, hex);
    snprintf(path, sizeof(path), "%s/images/layers/%s/fs", f->root, hex);
    make_dir(path);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(name, sizeof(name), "layer-%d", n);
    snprintf(text, sizeof(text), "%d", n);
    assert_int_equal(file_write_atomic(dir, name, "x", 1, 0644, false, &e), 0);
    assert_int_equal(file_write_atomic(dir, "top", text, strlen(text), 0644, false, &e), 0);
}

static struct image_store *open_store(struct fixture *f)
{
    struct image_store_config config = {.root = f->root, .unpack_path = "/bin/false"};
    struct image_store *s;
    struct err e = ERR_INIT;

    if (image_store_open(f->loop, &config, &s, &e) < 0)
        fail_msg("%s", err_text(&e));
    return s;
}

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    strncpy(f->root, "/tmp/podd-test-rootfs-XXXXXX", sizeof(f->root) - 1);
    assert_non_null(mkdtemp(f->root));
    f->loop = loop_new();
    f->store = open_store(f);
    *state = f;
    return 0;
}

static void run_until_idle(struct fixture *f)
{
    loop_stop(f->loop);
    loop_run(f->loop);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    image_store_close(f->store);
    loop_free(f->loop);
    if (tree_remove(AT_FDCWD, f->root, &e) < 0)
        fail_msg("%s", err_text(&e));
    free(f);
    return 0;
}

static char **layer_list(struct fixture *f, int n)
{
    char hex[DIGEST_HEX_LEN + 1];
    char **layers = NULL;

    for (int i = 0; i < n; i++) {
        make_layer(f, i);
        layer_name(i, hex);
        strv_push(&layers, hex);
    }
    return layers;
}

static bool has(int root, const char *path)
{
    return faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void assert_text(int root, const char *path, const char *text)
{
    struct bytes b = {0};
    struct err e = ERR_INIT;

    if (file_read(root, path, 100, &b, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_string_equal((char *)b.data, text);
    bytes_free(&b);
}

static int mounts(void)
{
    FILE *mountinfo = fopen("/proc/self/mountinfo", "re");
    int lines = 0;

    for (int c; (c = fgetc(mountinfo)) != EOF;)
        lines += c == '\n';
    fclose(mountinfo);
    return lines;
}

static int create(struct fixture *f, const char *id, char **layers)
{
    struct err e = ERR_INIT;
    int fd;

    if (rootfs_create(f->store, id, layers, NULL, &fd, &e) < 0)
        fail_msg("%s", err_text(&e));
    return fd;
}

static void layers_are_stacked_and_written_over(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_strv_ char **layers = layer_list(f, LAYERS);
    int before = mounts();
    _cleanup_close_ int root = create(f, "c1", layers);

    assert_int_equal(mounts(), before); /* attached nowhere */
    assert_text(root, "top", "2");
    for (int i = 0; i < LAYERS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "layer-%d", i);
        assert_true(has(root, name));
    }
    assert_int_equal(file_write_atomic(root, "top", "mine", 4, 0644, false, &e), 0);
    assert_int_equal(unlinkat(root, "layer-0", 0), 0);
    _cleanup_close_ int other = create(f, "c2", layers);
    assert_text(other, "top", "2");
    assert_true(has(other, "layer-0"));
    assert_text(root, "top", "mine");
}

static void the_root_looks_like_that_of_the_uppermost_layer(void **state)
{
    struct fixture *f = *state;
    _cleanup_strv_ char **layers = layer_list(f, LAYERS);
    char path[256];
    struct stat st;

    snprintf(path, sizeof(path), "%s/images/layers/%s/fs", f->root, layers[LAYERS - 1]);
    assert_int_equal(chown(path, 11, 12), 0);
    assert_int_equal(chmod(path, 01751), 0);
    _cleanup_close_ int root = create(f, "c1", layers);
    assert_int_equal(fstat(root, &st), 0);
    assert_int_equal(st.st_mode & 07777, 01751);
    assert_int_equal(st.st_uid, 11);
    assert_int_equal(st.st_gid, 12);
}

static void a_layer_may_be_in_the_stack_twice(void **state)
{
    struct fixture *f = *state;
    _cleanup_strv_ char **layers = layer_list(f, LAYERS);

    strv_push(&layers, layers[0]);
    _cleanup_close_ int root = create(f, "c1", layers);
    assert_text(root, "top", "0");
    assert_true(has(root, "layer-2"));
}

static void no_layers_are_an_empty_directory(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct stat st;
    _cleanup_close_ int root = create(f, "c1", NULL);

    assert_int_equal(fstat(root, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(file_write_atomic(root, "new", "x", 1, 0644, false, &e), 0);
}

static void what_a_half_made_container_left_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_strv_ char **layers = layer_list(f, LAYERS);
    int root = create(f, "c1", layers);

    assert_int_equal(file_write_atomic(root, "old", "x", 1, 0644, false, &e), 0);
    close(root);
    root = create(f, "c1", layers);
    assert_false(has(root, "old"));
    close(root);
}

static void removal_is_by_rename_and_in_the_background(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_strv_ char **layers = layer_list(f, LAYERS);
    _cleanup_close_ int root = create(f, "c1", layers);

    /* Even while somebody still has it open. */
    assert_int_equal(rootfs_remove(f->store, "c1", &e), 0);
    assert_false(has(f->store->containers_fd, "c1"));
    assert_int_equal(rootfs_remove(f->store, "c1", &e), 0);
    assert_int_equal(rootfs_remove(f->store, "never", &e), 0);
}

static void strange_ids_are_refused(void **state)
{
    static const char *const ids[] = {"", ".", "..", "../x", "a/b", ".hidden", "a\nb"};
    struct fixture *f = *state;
    char *evil_layer[] = {(char *)"../../../../etc", NULL};
    struct err e = ERR_INIT;
    int fd;

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_int_equal(rootfs_create(f->store, ids[i], NULL, NULL, &fd, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
        assert_int_equal(rootfs_remove(f->store, ids[i], &e), -1);
        err_clear(&e);
    }
    assert_int_equal(rootfs_create(f->store, "c1", evil_layer, NULL, &fd, &e), -1);
    err_clear(&e);
}

static void a_failure_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char hex[DIGEST_HEX_LEN + 1];
    char *missing[] = {hex, NULL};
    struct err e = ERR_INIT;
    int fd;

    layer_name(99, hex);
    assert_int_equal(rootfs_create(f->store, "c1", missing, NULL, &fd, &e), -1);
    assert_non_null(strstr(e.message, "c1"));
    err_clear(&e);
    assert_false(has(f->store->containers_fd, "c1"));
}

static void only_known_containers_survive_a_start(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char *known[] = {(char *)"c2"};

    close(create(f, "c1", NULL));
    close(create(f, "c2", NULL));
    assert_int_equal(rootfs_reconcile(f->store, known, 1, &e), 0);
    assert_false(has(f->store->containers_fd, "c1"));
    assert_true(has(f->store->containers_fd, "c2/upper"));
    run_until_idle(f);
}

/* ---- Old kernels ----------------------------------------------------------------------------- */

typedef int mount_fn(const struct overlay *o, int *ret_fd, struct err *e);

static void mount_many(struct fixture *f, int n, mount_fn *fn)
{
    _cleanup_strv_ char **layers = layer_list(f, n);
    _cleanup_strv_ char **lowers = NULL;
    _cleanup_free_ char *upper = xasprintf("%s/upper", f->root);
    _cleanup_free_ char *work = xasprintf("%s/work", f->root);
    struct err e = ERR_INIT;
    char cwd[256], now[256];
    int before = mounts(), fd;

    make_dir(upper);
    make_dir(work);
    for (int i = n; i > 0; i--) {
        _cleanup_free_ char *path = xasprintf("%s/images/layers/%s/fs", f->root, layers[i - 1]);
        strv_push(&lowers, path);
    }
    struct overlay o = {.lowers = lowers, .upper = upper, .work = work, .user_ns = -1};
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    if (fn(&o, &fd, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_int_equal(mounts(), before);
    assert_string_equal(getcwd(now, sizeof(now)), cwd);
    char last[16];
    snprintf(last, sizeof(last), "%d", n - 1);
    assert_text(fd, "top", last);
    assert_true(has(fd, "layer-0"));
    assert_int_equal(file_write_atomic(fd, "new", "x", 1, 0644, false, &e), 0);
    assert_true(has(AT_FDCWD, upper));
    close(fd);
    assert_int_equal(tree_remove(AT_FDCWD, work, &e), 0);
    assert_int_equal(tree_remove(AT_FDCWD, upper, &e), 0);
}

static void layers_can_be_named_by_fds(void **state)
{
    mount_many(*state, LAYERS, overlay_mount_by_fds);
    mount_many(*state, MANY, overlay_mount_by_fds); /* too long a list for fsconfig(2) */
}

static void layers_can_be_mounted_in_a_namespace(void **state)
{
    mount_many(*state, LAYERS, overlay_mount_by_namespace);
}

/* ---- Records --------------------------------------------------------------------------------- */

struct outcome {
    struct loop *loop;
    bool failed;
};

static void on_committed(void *arg, const struct err *e)
{
    struct outcome *o = arg;

    o->failed = e != NULL;
    if (e)
        print_error("%s\n", err_text(e));
    loop_stop(o->loop);
}

static struct commit *new_commit(struct fixture *f, int layer, const char *cmd, const char *tag)
{
    struct commit *c = commit_new();
    char hex[DIGEST_HEX_LEN + 1], digest[DIGEST_TEXT_SIZE];

    make_layer(f, layer);
    layer_name(layer, hex);
    c->config.data = (uint8_t *)xasprintf("{\"config\":{\"Cmd\":[\"%s\"]},\"rootfs\":{\"type\":"
                                          "\"layers\",\"diff_ids\":[\"sha256:%s\"]"
                                          "}}",
                                          cmd, hex);
    c->config.len = strlen((char *)c->config.data);
    digest_compute(c->config.data, c->config.len, digest);
    c->id = xstrdup(digest);
    c->size = 10;
    strv_push(&c->tags, tag);
    struct layer *l = layer_hold(f->store, hex);
    if (!l)
        l = layer_add(f->store, hex, 4096, 1);
    char *path = xasprintf("%s/images/layers/%s/layer.json", f->root, hex);
    struct err e = ERR_INIT;
    assert_int_equal(
        file_write_atomic(AT_FDCWD, path, "{\"bytes\":4096,\"inodes\":1}", 25, 0600, false, &e), 0);
    free(path);
    *(struct layer **)array_push(&c->layers, &c->n_layers, sizeof(l)) = l;
    return c;
}

static char *commit_image(struct fixture *f, int layer, const char *cmd, const char *tag)
{
    struct outcome o = {.loop = f->loop};
    struct commit *c = new_commit(f, layer, cmd, tag);
    char *id = xstrdup(c->id);

    c->fn = on_committed;
    c->arg = &o;
    commit_start(f->store, c);
    loop_run(f->loop);
    assert_false(o.failed);
    return id;
}

static void reopen(struct fixture *f)
{
    image_store_close(f->store);
    loop_free(f->loop);
    f->loop = loop_new();
    f->store = open_store(f);
}

static void a_used_image_keeps_its_layers_when_removed(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_free_ char *id = commit_image(f, 0, "x", "docker.io/library/a:1");
    char hex[DIGEST_HEX_LEN + 1];

    layer_name(0, hex);
    image_hold(f->store, id);
    assert_int_equal(image_remove(f->store, "a:1", &e), 0);
    assert_null(image_find(f->store, "a:1"));
    assert_null(image_find(f->store, id));
    assert_true(has(f->store->layers_fd, hex));
    /* A restart in between: the holder comes back before the rest is swept. */
    reopen(f);
    assert_null(image_find(f->store, id));
    image_hold(f->store, id);
    assert_int_equal(rootfs_reconcile(f->store, NULL, 0, &e), 0);
    assert_true(has(f->store->layers_fd, hex));
    image_release(f->store, id);
    assert_false(has(f->store->layers_fd, hex));
    reopen(f);
    assert_null(image_find(f->store, id));
}

static void a_removed_image_that_nobody_holds_is_swept(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_free_ char *id = commit_image(f, 0, "x", "docker.io/library/a:1");
    char hex[DIGEST_HEX_LEN + 1];

    layer_name(0, hex);
    image_hold(f->store, id);
    assert_int_equal(image_remove(f->store, id, &e), 0);
    reopen(f);
    assert_true(has(f->store->layers_fd, hex));
    assert_int_equal(rootfs_reconcile(f->store, NULL, 0, &e), 0);
    assert_false(has(f->store->layers_fd, hex));
}

static void a_removed_image_comes_back_when_pulled_again(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    _cleanup_free_ char *id = commit_image(f, 0, "x", "docker.io/library/a:1");

    image_hold(f->store, id);
    assert_int_equal(image_remove(f->store, "a:1", &e), 0);
    _cleanup_free_ char *again = commit_image(f, 0, "x", "docker.io/library/b:1");
    assert_string_equal(id, again);
    const struct image *image = image_find(f->store, "b:1");
    assert_non_null(image);
    assert_int_equal(image->references, 1);
    assert_int_equal(strv_len(image->repo_tags), 1);
    image_release(f->store, id);
    reopen(f);
    assert_non_null(image_find(f->store, "b:1"));
}

static void a_tag_belongs_to_the_last_who_got_it(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *old = commit_image(f, 0, "x", "docker.io/library/a:1");
    _cleanup_free_ char *new = commit_image(f, 1, "y", "docker.io/library/a:1");

    for (int round = 0; round < 2; round++) {
        assert_string_equal(image_find(f->store, "a:1")->id, new);
        assert_int_equal(strv_len(image_find(f->store, old)->repo_tags), 0);
        reopen(f);
    }
}

static void removal_during_a_commit_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct outcome o = {.loop = f->loop};
    struct err e = ERR_INIT;
    _cleanup_free_ char *id = commit_image(f, 0, "x", "docker.io/library/a:1");
    struct commit *c = new_commit(f, 0, "x", "docker.io/library/b:1");

    c->fn = on_committed;
    c->arg = &o;
    commit_start(f->store, c); /* on a worker by now */
    assert_int_equal(image_remove(f->store, "a:1", &e), 0);
    loop_run(f->loop);
    assert_false(o.failed);
    for (int round = 0; round < 2; round++) {
        const struct image *image = image_find(f->store, "b:1");
        assert_non_null(image);
        assert_string_equal(image->id, id);
        assert_int_equal(strv_len(image->repo_tags), 1);
        reopen(f);
    }
}

static void images_are_found_by_every_form(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *id = commit_image(f, 0, "x", "docker.io/library/a:1");
    _cleanup_free_ char *short_id = xstrndup(digest_hex(id), 12);
    _cleanup_free_ char *long_prefix = xstrndup(id, 20);
    const char *const forms[] = {id,    digest_hex(id), short_id,        long_prefix,
                                 "a:1", "library/a:1",  "docker.io/a:1", "docker.io/library/a:1"};
    const char *const others[] = {"a",       "a:2",         "b:1", "",   "0000",
                                  "sha256:", "sha256:0000", "A:1", "x y"};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (!image_find(f->store, forms[i]))
            fail_msg("%s", forms[i]);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (image_find(f->store, others[i]))
            fail_msg("%s", others[i]);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Lets the background work for a while. */
static void wait_ms(struct fixture *f, int64_t ms)
{
    struct timer *t = timer_new(f->loop, stop_loop, f->loop);

    timer_start(t, ms);
    loop_run(f->loop);
    timer_free(t);
}

static void a_stock_of_writable_layers_is_kept(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500 && f->store->spares.n <= SPARES_MAX / 2; i++)
            wait_ms(f, 10);
        assert_true(f->store->spares.n > SPARES_MAX / 2);
        for (int i = 0; i <= SPARES_MAX; i++) { /* one more than there are */
            struct err e = ERR_INIT;
            close(create(f, "c1", NULL));
            assert_int_equal(rootfs_remove(f->store, "c1", &e), 0);
        }
    }
    reopen(f);
    wait_ms(f, 50);
}

static void how_long_it_takes(void **state)
{
    struct fixture *f = *state;
    _cleanup_strv_ char **layers = layer_list(f, 8);
    enum { ROUNDS = 10, N = 10 };
    int64_t creating = 0, closing = 0, removing = 0;
    struct err e = ERR_INIT;
    int fds[N];
    char id[32];

    for (int round = 0; round < ROUNDS; round++) {
        wait_ms(f, 50);
        int64_t begin = time_mono_ns();
        for (int i = 0; i < N; i++) {
            snprintf(id, sizeof(id), "c%d", i);
            fds[i] = create(f, id, layers);
        }
        creating += time_mono_ns() - begin;
        begin = time_mono_ns();
        for (int i = 0; i < N; i++)
            close(fds[i]);
        closing += time_mono_ns() - begin;
        begin = time_mono_ns();
        for (int i = 0; i < N; i++) {
            snprintf(id, sizeof(id), "c%d", i);
            assert_int_equal(rootfs_remove(f->store, id, &e), 0);
        }
        removing += time_mono_ns() - begin;
    }
    print_message("of 8 layers: create %lld us, last close %lld us, remove %lld us\n",
                  (long long)creating / ROUNDS / N / 1000, (long long)closing / ROUNDS / N / 1000,
                  (long long)removing / ROUNDS / N / 1000);
}

static int enter_own_namespace(void **state)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0
                                                                                               : -1;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(layers_are_stacked_and_written_over),
        TEST(the_root_looks_like_that_of_the_uppermost_layer),
        TEST(a_layer_may_be_in_the_stack_twice),
        TEST(no_layers_are_an_empty_directory),
        TEST(what_a_half_made_container_left_is_replaced),
        TEST(removal_is_by_rename_and_in_the_background),
        TEST(strange_ids_are_refused),
        TEST(a_failure_leaves_nothing),
        TEST(only_known_containers_survive_a_start),
        TEST(layers_can_be_named_by_fds),
        TEST(layers_can_be_mounted_in_a_namespace),
        TEST(a_used_image_keeps_its_layers_when_removed),
        TEST(a_removed_image_that_nobody_holds_is_swept),
        TEST(a_removed_image_comes_back_when_pulled_again),
        TEST(a_tag_belongs_to_the_last_who_got_it),
        TEST(removal_during_a_commit_loses_nothing),
        TEST(images_are_found_by_every_form),
        TEST(a_stock_of_writable_layers_is_kept),
        TEST(how_long_it_takes),
    };

    return cmocka_run_group_tests(tests, enter_own_namespace, NULL);
}
