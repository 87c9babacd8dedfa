/*
 * member.c - one container of a declared pod: its current life, its last end, and whether the pod's
 * policy starts it again.
 */
#include "private.h"

struct container *member_container(const struct member *m)
{
    return m->id ? container_find(m->pod->node->config.pods, m->id, NULL) : NULL;
}

bool member_is_running(const struct member *m)
{
    const struct container *c = member_container(m);

    return c && c->state == CONTAINER_RUNNING;
}

void member_environment(const struct member *m, struct pair_list *ret)
{
    const struct container *c = member_container(m);

    for (char *const *text = c ? c->env : NULL; text && *text; text++) {
        struct key_value *pair = array_push(&ret->items, &ret->count, sizeof(*pair));
        size_t name = strcspn(*text, "=");
        pair->key = xstrndup(*text, name);
        pair->value = xstrdup(*text + name + ((*text)[name] == '='));
    }
}

void member_set_waiting(struct member *m, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    free(m->waiting_message);
    m->waiting_message = xvasprintf(fmt, ap);
    va_end(ap);
    m->waiting = reason;
    declared_touch(m->pod);
}

void termination_clear(struct termination *t)
{
    free(t->reason);
    free(t->message);
    *t = (struct termination){0};
}

void termination_of(struct termination *t, const struct member *m, const struct container *c)
{
    termination_clear(t);
    t->set = true;
    t->exit_code = c->exit_code;
    t->reason = xstrdup(c->reason);
    t->message = xstrdup(m->end_noted && str_equal(m->id, c->id) ? m->end_message : c->message);
    t->started_at = c->started_at;
    t->finished_at = c->finished_at;
}

void member_clear(struct member *m)
{
    member_reset_hooks(m);
    health_detach(m->health);
    healthcheck_free(m->healthcheck);
    if (m->pull)
        image_pull_cancel(m->pull);
    termination_clear(&m->last);
    free(m->termination_file);
    free(m->end_message);
    free(m->waiting_message);
    free(m->id);
}

/* An init container that is no sidecar is tried until it succeeds, unless the policy is Never. */
bool member_restarts(const struct member *m, const struct container *c)
{
    int policy = m->pod->manifest->spec->restart;
    bool failed = c->exit_code != 0 || str_equal(c->reason, "OOMKilled");

    if (m->ephemeral)
        return false;
    if (c->state == CONTAINER_UNKNOWN)
        return policy != RESTART_NEVER || m->sidecar;
    if (m->sidecar)
        return true;
    if (m->init)
        return failed && policy != RESTART_NEVER;
    if (policy == RESTART_NEVER)
        return false;
    return policy == RESTART_ON_FAILURE ? failed : true;
}

bool member_is_done(const struct member *m)
{
    const struct container *c = member_container(m);

    return c && c->state == CONTAINER_EXITED && !member_restarts(m, c);
}
