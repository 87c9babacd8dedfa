/*
 * lookout.c - looks, every now and then, whether rules of others cut pods off (foreign.c).
 *
 * When podd starts; a moment after somebody changed nf_tables, once for all changes in that moment;
 * and when somebody asks for the status and the last look is some seconds old, as nobody tells of
 * changes by iptables-legacy. What is found is logged when it changes.
 */
#include "foreign.h"
#include "room.h"

enum { SETTLE_MS = 2000 };
#define STALE_NS (5 * NS_PER_SEC)

struct lookout {
    struct net *net;
    struct timer *timer;
    bool armed;
    int64_t looked_at;
    char *warning; /* NULL: nothing is known that cuts pods off */
};

struct look_job {
    struct job job; /* first */
    struct net *net;
    bool found;
    struct foreign_drop drop;
    struct err error;
};

static void look_run(struct job *j)
{
    struct look_job *look = container_of(j, struct look_job, job);
    struct net *n = look->net;

    /* Bridge and table never change their names. */
    (void)!foreign_find_drop(n->bridge, n->rules.table, n->forwards[0], n->forwards[1],
                             &look->found, &look->drop, &look->error);
}

static void tell(struct lookout *l, struct look_job *look)
{
    _cleanup_strbuf_ struct strbuf text = {0};
    char *warning = NULL;

    if (look->error.code != ERR_OK) {
        log_warn("net", NULL, "whether rules of others cut pods off is not known: %s",
                 err_text(&look->error));
        return;
    }
    if (look->found) {
        foreign_explain(&look->drop, l->net->bridge, &text);
        warning = strbuf_take(&text);
    }
    if (warning && !str_equal(warning, l->warning))
        log_warn("net", l->net->bridge, "%s", warning);
    else if (!warning && l->warning)
        log_info("net", l->net->bridge, "pods are no longer cut off by rules of others");
    free(l->warning);
    l->warning = warning;
}

static void look_finish(struct job *j)
{
    struct look_job *look = container_of(j, struct look_job, job);

    if (look->net->lookout)
        tell(look->net->lookout, look);
    err_clear(&look->error);
    free(look);
}

static void on_timer(void *arg)
{
    struct lookout *l = arg;
    struct look_job *look = xnew(struct look_job);

    l->armed = false;
    l->looked_at = time_mono_ns();
    look->job = (struct job){.run = look_run, .finish = look_finish};
    look->net = l->net;
    queue_push(&l->net->slow, &look->job);
}

static void arm(struct lookout *l, int delay_ms)
{
    if (!l->armed)
        timer_start(l->timer, delay_ms);
    l->armed = true;
}

struct lookout *lookout_new(struct net *n)
{
    struct lookout *l = xnew(struct lookout);

    l->net = n;
    l->timer = timer_new(n->loop, on_timer, l);
    arm(l, 0);
    return l;
}

void lookout_free(struct lookout *l)
{
    if (!l)
        return;
    timer_free(l->timer);
    free(l->warning);
    free(l);
}

void lookout_on_change(struct lookout *l)
{
    if (l)
        arm(l, SETTLE_MS);
}

const char *lookout_warning(struct lookout *l)
{
    if (l && time_mono_ns() - l->looked_at > STALE_NS)
        arm(l, 0);
    return l ? l->warning : NULL;
}
