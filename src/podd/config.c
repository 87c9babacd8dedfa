/*
 * config.c - the daemon's configuration: defaults, then podd.yaml, then flags.
 *
 * The default file may be missing; one that was asked for may not. What the file may hold is in
 * config_file.c.
 */
#include "config.h"

#include "config_check.h"

#include <fcntl.h>
#include <stdio.h>

#define DEFAULT_ROOT "/var/lib/podd"
#define DEFAULT_STATE "/run/podd"
#define DEFAULT_MANIFESTS "/etc/podd/manifests"

static const char usage[] =
    "Usage: podd [FLAG]...\n"
    "\n"
    "Runs pods on this machine and serves CRI and podd.v1 on a unix socket, in the foreground.\n"
    "\n"
    "  --config FILE      settings (default " CONFIG_DEFAULT_FILE ", which may be missing)\n"
    "  --root DIR         images and declared pods (default " DEFAULT_ROOT ")\n"
    "  --state DIR        what a reboot ends (default " DEFAULT_STATE ")\n"
    "  --socket ADDR      where to listen (default unix://" DEFAULT_STATE "/podd.sock)\n"
    "  --log-level LEVEL  error, warn, info or debug (default info)\n"
    "  --help             this text\n"
    "  --version          the version\n"
    "\n"
    "A flag wins over the same setting in FILE. Several podds live side by side with a root, a\n"
    "state directory, a socket, a bridge and a pool of their own.\n";

/* ---- Defaults and the end -------------------------------------------------------------------- */

struct config *config_new(void)
{
    struct config *c = xnew(struct config);

    c->root = xstrdup(DEFAULT_ROOT);
    c->state = xstrdup(DEFAULT_STATE);
    c->socket = xstrdup("unix://" DEFAULT_STATE "/podd.sock");
    c->log_level = LOG_INFO;
    c->network.bridge = xstrdup("podd0");
    strv_push(&c->network.pools, "10.85.0.0/16");
    c->network.n_pools = 1;
    c->network.cni.config_dir = xstrdup("/etc/cni/net.d");
    strv_push(&c->network.cni.plugin_dirs, "/opt/cni/bin");
    strv_push(&c->network.cni.plugin_dirs, "/usr/lib/cni");
    c->network.cni.timeout = 60;
    c->streaming.address = xstrdup("127.0.0.1");
    c->logs.max_size = 10 << 20;
    c->logs.max_files = 5;
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_registries; i++) {
        struct image_config_registry *r = &c->registries[i];
        free((char *)r->prefix);
        strv_free((char **)r->mirrors);
        free((char *)r->ca);
        free((char *)r->auth_file);
    }
    free(c->registries);
    free(c->root);
    free(c->state);
    free(c->socket);
    free(c->log_root);
    free(c->manifests);
    strv_free(c->cdi_dirs);
    free(c->seccomp_default_profile);
    free(c->network.bridge);
    strv_free(c->network.pools);
    strv_free(c->network.dns);
    free(c->network.cni.config_dir);
    strv_free(c->network.cni.plugin_dirs);
    free(c->streaming.address);
    free(c->metrics.address);
    free(c->listen.address);
    free(c->listen.cert);
    free(c->listen.key);
    free(c->listen.client_ca);
    strv_free(c->listen.readers);
    strv_free(c->listen.full);
    free(c);
}

static void config_freep(struct config **c)
{
    config_free(*c);
}

/* ---- Flags ----------------------------------------------------------------------------------- */

/* Borrowed from argv; NULL: not given. */
struct flags {
    const char *config, *root, *state, *socket, *log_level;
    bool help, version;
};

struct flag {
    const char *name;
    size_t offset;
    bool is_switch;
};

static const struct flag known_flags[] = {
    {"--config", offsetof(struct flags, config), false},
    {"--root", offsetof(struct flags, root), false},
    {"--state", offsetof(struct flags, state), false},
    {"--socket", offsetof(struct flags, socket), false},
    {"--log-level", offsetof(struct flags, log_level), false},
    {"--help", offsetof(struct flags, help), true},
    {"--version", offsetof(struct flags, version), true},
};

static int fail_unknown(const char *arg, const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(known_flags) + 1] = {NULL};

    if (arg[0] != '-')
        return err_set(e, ERR_INVALID_ARGUMENT, "unexpected argument \"%s\"; see podd --help", arg);
    for (size_t i = 0; i < ARRAY_SIZE(known_flags); i++)
        names[i] = known_flags[i].name;
    const char *close = str_closest(name, names);
    if (close)
        return err_set(e, ERR_INVALID_ARGUMENT, "unknown flag %s, did you mean %s?", name, close);
    return err_set(e, ERR_INVALID_ARGUMENT, "unknown flag %s; see podd --help", name);
}

static const struct flag *find_flag(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_flags); i++)
        if (str_equal(known_flags[i].name, name))
            return &known_flags[i];
    return NULL;
}

/* Takes one flag, "--name value" or "--name=value"; *at ends at its last word. */
static int parse_flag(char **argv, int *at, struct flags *f, struct err *e)
{
    const char *arg = argv[*at];
    const char *equals = strchr(arg, '=');
    _cleanup_free_ char *name = equals ? xstrndup(arg, (size_t)(equals - arg)) : xstrdup(arg);
    const struct flag *flag = find_flag(str_equal(name, "-h") ? "--help" : name);

    if (!flag)
        return fail_unknown(arg, name, e);
    if (flag->is_switch) {
        if (equals)
            return err_set(e, ERR_INVALID_ARGUMENT, "flag %s takes no value", name);
        *(bool *)((char *)f + flag->offset) = true;
        return 0;
    }
    const char *value = equals ? equals + 1 : argv[++*at];
    if (str_empty(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "flag %s needs a value", name);
    *(const char **)((char *)f + flag->offset) = value;
    return 0;
}

static int parse_flags(int argc, char **argv, struct flags *f, struct err *e)
{
    for (int i = 1; i < argc; i++)
        if (parse_flag(argv, &i, f, e) < 0)
            return -1;
    return 0;
}

static int set_path(char **at, const char *value, const char *flag, struct err *e)
{
    if (!value)
        return 0;
    if (check_path(value, e) < 0)
        return err_wrap(e, "flag %s", flag);
    free(*at);
    *at = xstrdup(value);
    return 0;
}

static int apply_flags(struct config *c, const struct flags *f, struct err *e)
{
    if (set_path(&c->root, f->root, "--root", e) < 0 ||
        set_path(&c->state, f->state, "--state", e) < 0)
        return -1;
    if (f->socket) {
        if (check_socket(f->socket, e) < 0)
            return err_wrap(e, "flag --socket");
        free(c->socket);
        c->socket = xstrdup(f->socket);
    }
    if (f->log_level && log_level_parse(f->log_level, &c->log_level) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "flag --log-level: \"%s\" is not one of error, warn, info, debug",
                       f->log_level);
    return 0;
}

/* ---- All together ---------------------------------------------------------------------------- */

static int read_file(struct config *c, const char *path, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};

    if (!path && access(CONFIG_DEFAULT_FILE, F_OK) < 0 && errno == ENOENT)
        return 0;
    if (!path)
        path = CONFIG_DEFAULT_FILE;
    if (file_read(AT_FDCWD, path, YAML_MAX_SIZE, &text, e) < 0)
        return -1;
    return config_read(c, text.data, text.len, path, e);
}

/* True when `path` is `dir` or below it. */
static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* What only the whole shows. */
static int finish(struct config *c, struct err *e)
{
    if (is_below(c->root, c->state) || is_below(c->state, c->root))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "root %s and state %s must not be the same directory or one in the other: "
                       "the state ends with a reboot, the root does not",
                       c->root, c->state);
    /* Another podd beside the machine's own must not take its logs or its pods. */
    bool own = !str_equal(c->root, DEFAULT_ROOT);
    c->log_root = own ? xasprintf("%s/logs", c->root) : xstrdup("/var/log/pods");
    if (!own && !c->manifests)
        c->manifests = xstrdup(DEFAULT_MANIFESTS);
    if (!c->cdi_dirs) {
        strv_push(&c->cdi_dirs, "/etc/cdi");
        strv_push(&c->cdi_dirs, "/var/run/cdi");
    }
    return 0;
}

int config_load(int argc, char **argv, struct config **ret, struct err *e)
{
    CLEANUP(config_freep) struct config *c = config_new();
    struct flags flags = {0};

    if (parse_flags(argc, argv, &flags, e) < 0)
        return -1;
    if (flags.help || flags.version) {
        printf("%s", flags.help ? usage : "podd " PODD_VERSION "\n");
        return 1;
    }
    if (read_file(c, flags.config, e) < 0 || apply_flags(c, &flags, e) < 0 || finish(c, e) < 0)
        return -1;
    *ret = take_ptr(c);
    return 0;
}
