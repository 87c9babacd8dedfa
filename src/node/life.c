/*
 * life.c - keeps one container of a pod going: from its end to its next start.
 *
 * A life ends by itself or because a probe had it killed. Its end is noted once; then the policy
 * and the back-off say whether and when the next one begins. One dead container of each name is
 * kept, for its state and its log.
 */
#include "message.h"
#include "private.h"

/* ---- The end of a life -------------------------------------------------------------------------
 */

/* What the container itself says about its end; else what podd knows. */
static char *end_message(const struct member *m, const struct container *c)
{
    char *message = message_from_file(m->termination_file);

    if (!message && m->spec->termination_policy == MESSAGE_FALLBACK_TO_LOGS && c->exit_code != 0)
        message = message_from_log(c->log_path);
    return message ? message : xstrdup(c->message);
}

void member_note_end(struct member *m)
{
    const struct container *c = member_container(m);

    if (m->end_noted || !c || (c->state != CONTAINER_EXITED && c->state != CONTAINER_UNKNOWN))
        return;
    m->end_noted = true;
    free(m->end_message);
    m->end_message = end_message(m, c);
    m->kill = false;
    m->kill_deadline = 0;
    member_reset_hooks(m);
    health_detach(m->health);
    m->health = NULL;
    log_info("node", m->pod->key, "container %s has ended with exit code %d%s%s", m->spec->name,
             c->exit_code, str_empty(c->reason) ? "" : ", ", c->reason ? c->reason : "");
    declared_touch(m->pod);
}

/* ---- Dead containers ---------------------------------------------------------------------------
 */

struct log_job {
    struct work_job base;
    char *path;
};

static void log_remove(struct work_job *base)
{
    struct log_job *job = container_of(base, struct log_job, base);

    if (unlink(job->path) < 0 && errno != ENOENT) {
        err_errno(&base->err, errno, "remove %s", job->path);
        return;
    }
    for (unsigned i = 1;; i++) { /* those that were rotated away */
        _cleanup_free_ char *path = xasprintf("%s.%u", job->path, i);
        if (unlink(path) < 0)
            return;
    }
}

static void log_removed(struct op *op, const char *id, const struct err *e)
{
    struct log_job *job = op->job;

    if (e->code != ERR_OK)
        log_warn("node", op->pod->key, "%s", err_text(e));
    err_clear(&job->base.err);
    free(job->path);
    free(job);
}

static void container_removed(struct op *op, const char *id, const struct err *e)
{
    struct log_job *job = op->job;

    if (e->code != ERR_OK) {
        log_warn("node", op->pod->key, "remove an old container of %s: %s", op->member->spec->name,
                 err_text(e));
        free(job->path);
        free(job);
        return;
    }
    struct op *next = op_new(op->pod, NULL, log_removed, job);
    op_work(op->node->config.loop, next, &job->base);
}

/* Removes what is older than the life before the current one, logs too. */
static void remove_older(struct member *m)
{
    struct sandbox *s = declared_sandbox(m->pod);
    struct node *n = m->pod->node;

    if (!s)
        return;
    list_for_each_safe (it, &s->containers) {
        struct container *c = container_of_sibling(it);
        if (!str_equal(c->name, m->spec->name) || c->attempt + 1 >= m->attempt ||
            c->state == CONTAINER_RUNNING)
            continue;
        struct log_job *job = xnew(struct log_job);
        job->base.work = log_remove;
        job->path = xstrdup(c->log_path);
        struct op *op = op_new(m->pod, NULL, container_removed, job);
        op->member = m;
        container_remove(n->config.pods, c->id, op_on_done, op);
    }
}

/* ---- The next life -----------------------------------------------------------------------------
 */

static void begin_next(struct member *m, const struct container *c, int64_t now)
{
    backoff_arm(&m->crash, c->finished_at, now);
    termination_of(&m->last, m, c);
    free(take_ptr(m->id));
    m->attempt++;
    m->pod->node->restarts++;
    m->end_noted = false;
    m->images_ready = 0;
    m->due = 0;
    m->waiting = NULL;
    remove_older(m);
    store_save(m->pod);
    member_start_life(m);
}

static void restart_sync(struct member *m, const struct container *c)
{
    int64_t now = time_now_ns();

    member_note_end(m);
    if (!member_restarts(m, c))
        return;
    int64_t due = backoff_due(&m->crash, c->finished_at);
    if (due <= now) {
        begin_next(m, c, now);
        return;
    }
    if (m->due != due) {
        m->due = due;
        member_set_waiting(m, "CrashLoopBackOff",
                           "back-off %llds restarting failed container=%s pod=%s_%s(%s)",
                           (long long)(m->crash.delay_ns / NS_PER_SEC), m->spec->name, m->pod->name,
                           m->pod->namespace_, m->pod->uid);
        event_add(m->pod, m, true, "BackOff", "Back-off restarting failed container %s",
                  m->spec->name);
    }
}

/* ---- Killing -----------------------------------------------------------------------------------
 */

static void killed(struct op *op, const char *id, const struct err *e)
{
    if (e->code != ERR_OK) {
        op->member->kill = true; /* again, with the next kick */
        op->member->due = time_now_ns() + 2 * NS_PER_SEC;
        log_warn("node", op->pod->key, "stop container %s: %s", op->member->spec->name,
                 err_text(e));
    }
}

static void kill_life(struct member *m, const struct container *c)
{
    int64_t grace = m->kill_grace >= 0 ? m->kill_grace : m->pod->grace;

    if (m->due > time_now_ns())
        return;
    if (!m->kill_deadline)
        m->kill_deadline = time_mono_ns() + grace * NS_PER_SEC;
    int64_t left_ms = (m->kill_deadline - time_mono_ns()) / NS_PER_MS;
    if (!member_pre_stop(m, left_ms))
        return;
    m->kill = false;
    struct op *op = op_new(m->pod, m, killed, NULL);
    container_stop(m->pod->node->config.pods, c->id,
                   left_ms < GRACE_MIN_MS ? GRACE_MIN_MS : left_ms, op_on_done, op);
}

/* ---- The pass ----------------------------------------------------------------------------------
 */

void member_sync(struct member *m)
{
    const struct container *c = member_container(m);

    if (m->op)
        return;
    if (!c) {
        if (m->id) { /* removed behind podd's back: it counts as ended */
            free(take_ptr(m->id));
            health_detach(take_ptr(m->health));
            m->attempt++;
            m->end_noted = false;
        }
        member_start_life(m);
        return;
    }
    switch (c->state) {
    case CONTAINER_CREATED:
        member_start_life(m);
        break;
    case CONTAINER_RUNNING:
        m->waiting = NULL;
        if (!m->health)
            member_attach_health(m);
        member_post_start(m);
        if (m->kill)
            kill_life(m, c);
        break;
    case CONTAINER_EXITED:
    case CONTAINER_UNKNOWN:
        restart_sync(m, c);
        break;
    }
}
