/*
 * cni-status.c - whether CNI mode can connect pods, and what is wrong although it can.
 *
 * Ready means: there is a configuration, the programs that it names are there, and (from version
 * 1.1.0 on) the plugins' own STATUS says so. The plugins are asked when a configuration comes, and
 * again when somebody asks for the status and the last answer is some seconds old; nobody asks, no
 * plugin runs. Until the first answer of a configuration the network is not ready.
 */
#include "cni-room.h"

#define STALE_NS (5 * NS_PER_SEC)

static void on_status(void *arg, json_t *result, const struct err *e)
{
    struct cni *c = arg;
    bool news = !c->status_known || !str_equal(err_text(&c->status), err_text(e));

    c->status_chain = NULL;
    c->status_known = true;
    err_clear(&c->status);
    err_copy(&c->status, e);
    if (news && e->code != ERR_OK)
        log_warn("net", NULL, "the network is not ready: %s", err_text(e));
    else if (news)
        log_info("net", NULL, "the CNI plugins say that the network is ready");
}

static void ask(struct cni *c)
{
    const struct cni_order order = {.command = CNI_STATUS, .conf = c->status_conf};

    if (c->status_chain)
        return;
    c->status_at = time_mono_ns();
    c->status_chain = cni_chain_start(&c->host, &order, on_status, c);
}

void cni_status_close(struct cni *c)
{
    if (c->status_chain)
        cni_chain_cancel(take_ptr(c->status_chain));
    cni_conf_unref(take_ptr(c->status_conf));
    err_clear(&c->status);
    c->status_known = false;
}

void cni_status_renew(struct cni *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_conf *conf = cni_dir_conf(c->dir, &e);

    if (conf && conf == c->status_conf)
        return;
    cni_status_close(c);
    c->status_conf = conf ? cni_conf_ref(conf) : NULL;
    if (conf && conf->version >= CNI_1_1_0)
        ask(c);
}

static int check_programs(const struct cni *c, const struct cni_conf *conf, struct err *e)
{
    for (size_t i = 0; i < json_array_size(conf->plugins); i++) {
        _cleanup_free_ char *path = NULL;
        const char *type = cni_plugin_type(json_array_get(conf->plugins, i));
        if (cni_find_plugin(&c->host, type, &path, e) < 0)
            return err_wrap(e, "CNI plugin %s of network %s", type, conf->name);
    }
    return 0;
}

int cni_status(struct cni *c, struct err *e)
{
    const struct cni_conf *conf = cni_dir_conf(c->dir, e);

    if (!conf) {
        cni_dir_look(c->dir);
        return -1;
    }
    if (check_programs(c, conf, e) < 0)
        return -1;
    if (conf->version < CNI_1_1_0)
        return 0;
    if (time_mono_ns() - c->status_at > STALE_NS)
        ask(c);
    if (!c->status_known)
        return err_set(e, ERR_UNAVAILABLE,
                       "the plugins of CNI network %s have not said yet whether "
                       "they are ready (STATUS)",
                       conf->name);
    err_copy(e, &c->status);
    return e->code == ERR_OK ? 0 : -1;
}

const char *cni_warning(struct cni *c)
{
    const char *complaint = cni_dir_complaint(c->dir);
    struct strbuf text = {0};

    if (complaint)
        strbuf_addf(&text, "%s; podd goes on with what was there before", complaint);
    cni_pods_trouble(c, &text);
    free(c->warning);
    c->warning = text.len > 0 ? strbuf_take(&text) : NULL;
    return c->warning;
}
