/*
 * cni-chain.c - one command to all plugins of a network, one after the other.
 *
 *   ADD     in order; each gets the result of the one before; the first failure ends it
 *   CHECK   in order, with the result of ADD; the first failure ends it
 *   STATUS  in order; the first failure ends it
 *   DEL     in reverse, with the result of ADD; a failure is kept, and the others are still called:
 *           one plugin that is broken or missing must not keep the address that another one gave
 *   GC      in order; a failure is kept, and the others are still called
 *
 * DEL knows results since 0.4.0.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "cni-chain.h"
#include "cni-result.h"
#include "cni-run.h"

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static const char *const command_names[] = {"ADD", "DEL", "CHECK", "GC", "STATUS"};

struct cni_chain {
    const struct cni_host *host;
    struct cni_order order;
    char *netns;
    size_t done; /* plugins that were called */
    struct cni_run *run;
    struct timer *later; /* for what ends before it begins */
    json_t *result;      /* the last one */
    struct err first;    /* failure */
    cni_chain_fn *fn;
    void *arg;
};

static void chain_next(void *arg);

static void chain_free(struct cni_chain *c)
{
    cni_conf_unref(c->order.conf);
    json_decref(c->order.valid_attachments);
    json_decref(c->result);
    timer_free(c->later);
    err_clear(&c->first);
    free(c->netns);
    free(c);
}

/* ---- One plugin ------------------------------------------------------------------------------ */

int cni_find_plugin(const struct cni_host *host, const char *type, char **ret, struct err *e)
{
    _cleanup_strbuf_ struct strbuf all = {0};
    struct stat st;

    for (size_t i = 0; i < strv_len(host->plugin_dirs); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", host->plugin_dirs[i], type);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0) {
            *ret = take_ptr(path);
            return 0;
        }
        strbuf_addf(&all, "%s%s", i > 0 ? ", " : "", host->plugin_dirs[i]);
    }
    return err_set(e, ERR_FAILED_PRECONDITION, "there is no such program in %s", all.data);
}

static const json_t *current_plugin(const struct cni_chain *c)
{
    size_t count = json_array_size(c->order.conf->plugins);
    size_t index = c->order.command == CNI_DEL ? count - 1 - c->done : c->done;

    return json_array_get(c->order.conf->plugins, index);
}

static void push(char ***env, const char *key, const char *value)
{
    _cleanup_free_ char *text = xasprintf("%s=%s", key, value);

    strv_push(env, text);
}

/* The daemon's own environment goes on, as plugins call iptables or talk through a proxy; but not
 * what is about the daemon itself. */
static char **make_env(const struct cni_chain *c)
{
    static const char *const dropped[] = {"CNI_", "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_"};
    const struct cni_attachment *a = c->order.attachment;
    _cleanup_strbuf_ struct strbuf dirs = {0};
    char **env = NULL;

    for (char **v = environ; v && *v; v++) {
        bool drop = false;
        for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
            drop |= str_starts_with(*v, dropped[i]);
        if (!drop)
            strv_push(&env, *v);
    }
    if (!getenv("PATH"))
        push(&env, "PATH", default_path);
    for (size_t i = 0; i < strv_len(c->host->plugin_dirs); i++)
        strbuf_addf(&dirs, "%s%s", i > 0 ? ":" : "", c->host->plugin_dirs[i]);
    push(&env, "CNI_COMMAND", command_names[c->order.command]);
    push(&env, "CNI_PATH", dirs.data ? dirs.data : "");
    if (a) {
        push(&env, "CNI_CONTAINERID", a->id);
        push(&env, "CNI_NETNS", c->netns);
        push(&env, "CNI_IFNAME", CNI_INTERFACE);
        push(&env, "CNI_ARGS", a->args);
    }
    return env;
}

static const json_t *previous_result(const struct cni_chain *c)
{
    const struct cni_attachment *a = c->order.attachment;

    if (c->order.command == CNI_ADD)
        return c->result;
    if (!a || (c->order.command == CNI_DEL && c->order.conf->version < CNI_0_4_0))
        return NULL;
    return a->result;
}

/* ---- The walk -------------------------------------------------------------------------------- */

static void chain_end(struct cni_chain *c)
{
    bool ok = c->first.code == ERR_OK;

    c->fn(c->arg, ok ? c->result : NULL, &c->first);
    chain_free(c);
}

static void plugin_done(struct cni_chain *c, struct err *e)
{
    enum cni_command command = c->order.command;

    if (e->code != ERR_OK && c->first.code == ERR_OK) {
        err_wrap(e, "CNI plugin %s of network %s, %s", cni_plugin_type(current_plugin(c)),
                 c->order.conf->name, command_names[command]);
        err_move(&c->first, e);
    }
    c->done++;
    if (c->first.code != ERR_OK && command != CNI_DEL && command != CNI_GC)
        chain_end(c);
    else
        chain_next(c);
}

static void on_run(void *arg, const struct bytes *out, const struct err *e)
{
    struct cni_chain *c = arg;
    _cleanup_err_ struct err why = ERR_INIT;
    json_t *result = NULL;

    c->run = NULL;
    err_copy(&why, e);
    if (why.code == ERR_OK && c->order.command == CNI_ADD &&
        cni_result_parse(out->data ? (const char *)out->data : "", out->len, c->order.conf->version,
                         &result, &why) == 0) {
        json_decref(c->result);
        c->result = result;
    }
    plugin_done(c, &why);
}

static void chain_next(void *arg)
{
    struct cni_chain *c = arg;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *path = NULL, *input = NULL;

    if (c->done == json_array_size(c->order.conf->plugins)) {
        chain_end(c);
        return;
    }
    const json_t *plugin = current_plugin(c);
    if (cni_find_plugin(c->host, cni_plugin_type(plugin), &path, &e) < 0) {
        plugin_done(c, &e);
        return;
    }
    _cleanup_strv_ char **env = make_env(c);
    input = cni_request(c->order.conf, plugin,
                        c->order.attachment ? c->order.attachment->runtime : NULL,
                        previous_result(c), c->order.valid_attachments);
    const struct cni_program program = {.path = path,
                                        .envp = env,
                                        .input = input,
                                        .input_len = strlen(input),
                                        .timeout_ms = c->host->timeout_ms};
    c->run = cni_run_start(c->host->loop, &program, on_run, c);
}

struct cni_chain *cni_chain_start(const struct cni_host *host, const struct cni_order *order,
                                  cni_chain_fn *fn, void *arg)
{
    struct cni_chain *c = xnew(struct cni_chain);

    *c = (struct cni_chain){.host = host, .order = *order, .fn = fn, .arg = arg};
    cni_conf_ref(order->conf);
    json_incref(order->valid_attachments);
    c->netns = xstrdup(order->netns ? order->netns : "");
    c->later = timer_new(host->loop, chain_next, c);
    timer_start(c->later, 0);
    return c;
}

void cni_chain_cancel(struct cni_chain *c)
{
    if (c->run)
        cni_run_cancel(c->run);
    chain_free(c);
}
