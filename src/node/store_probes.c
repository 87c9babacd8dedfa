/*
 * store_probes.c - probe states to and from JSON. The record is written when a container becomes
 * ready or no longer is, so that a podd that is killed goes on from there: with what counted,
 * though not with every attempt since.
 */
#include "store_probes.h"
#include "text.h"
#include "translate.h"

static const char *const kind_keys[PROBE_KIND_COUNT] = {"startup", "readiness", "liveness"};

static json_t *state_to_json(const struct probe_state *s)
{
    _cleanup_free_ char *message = text_clean(s->message, strlen(s->message), sizeof(s->message));

    return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:s}", "last_result", s->last_result,
                     "run", s->run, "run_result", s->run_result, "last_time",
                     (json_int_t)s->last_time, "latency", (json_int_t)s->latency_ns, "attempts",
                     (json_int_t)s->attempts, "failures", (json_int_t)s->failures, "message",
                     message);
}

json_t *probes_to_json(const struct member *m)
{
    json_t *json = json_pack("{s:s}", "container", m->id);
    struct probe_state state;

    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++) {
        if (health_probe_state(m->health, kind, &state))
            json_object_set_new(json, kind_keys[kind], state_to_json(&state));
    }
    return json;
}

static int64_t get_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static enum probe_result get_result(const json_t *object, const char *key)
{
    int64_t value = get_int(object, key);

    return value >= PROBE_UNKNOWN && value <= PROBE_FAILURE ? (enum probe_result)value
                                                            : PROBE_UNKNOWN;
}

static void state_from_json(struct probe_state *s, const json_t *json)
{
    const char *message = json_string_value(json_object_get(json, "message"));

    s->last_result = get_result(json, "last_result");
    s->run = (int32_t)get_int(json, "run");
    s->run_result = get_result(json, "run_result");
    s->last_time = get_int(json, "last_time");
    s->latency_ns = get_int(json, "latency");
    s->attempts = (uint64_t)get_int(json, "attempts");
    s->failures = (uint64_t)get_int(json, "failures");
    if (message)
        strncpy(s->message, message, sizeof(s->message) - 1);
}

void probes_from_json(struct member *m, const json_t *json)
{
    const char *id = json_string_value(json_object_get(json, "container"));

    if (str_empty(id))
        return;
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++) {
        const json_t *state = json_object_get(json, kind_keys[kind]);
        if (!state && container_probe(m->spec, kind))
            return; /* not all are there: begin anew */
        if (state)
            state_from_json(&m->probed[kind], state);
    }
    m->probed_id = xstrdup(id);
}
