/*
 * attached_record.c - the records of attached probes: <root>/probes/<container id>, a packed
 * ProbedContainer.
 *
 * A record is written when the probes are set and when they have failed for good, one write of each
 * container at a time: whatever changes meanwhile is written after that. When podd ends in between,
 * the write still ends with a whole record, of what was asked before or of what is asked now, and
 * the caller whom that would have been told gets no answer.
 */
#include "attached.h"

#include <dirent.h>
#include <fcntl.h>

#define RECORD_SIZE_MAX (1 << 20)

/* A record that is being written or removed; one at a time of each container. */
struct record {
    struct list item;
    char *id;
    bool again;            /* it has changed since */
    struct rpc_call *call; /* is answered when the last change is on disk; NULL: none */
};

/* ---- Writing -----------------------------------------------------------------------------------
 */

struct record_job {
    struct work_job base;
    char *id, *path, *directory;
    uint8_t *data; /* NULL: remove it */
    size_t len;
};

static char *record_path(const struct attached_table *t, const char *id)
{
    return xasprintf("%s/%s", t->directory, id);
}

/* What was asked, and that it has failed for good; how it stands is no matter of the record. */
static uint8_t *pack_record(const struct attached *a, size_t *ret_len)
{
    Podd__V1__ProbedContainer m = PODD__V1__PROBED_CONTAINER__INIT;

    m.container_id = a->id;
    m.probes = a->message->probes;
    m.n_probes = a->message->n_probes;
    m.failed = a->failure != NULL;
    m.message = a->failure ? a->failure : (char *)"";
    uint8_t *data = xmalloc(podd__v1__probed_container__get_packed_size(&m) + 1);
    *ret_len = podd__v1__probed_container__pack(&m, data);
    return data;
}

static void record_work(struct work_job *base)
{
    struct record_job *job = (struct record_job *)base;

    if (job->data) {
        if (dir_ensure(job->directory, 0700, &base->err) == 0)
            (void)!file_write_atomic(AT_FDCWD, job->path, job->data, job->len, 0600, true,
                                     &base->err);
    } else if (unlink(job->path) < 0 && errno != ENOENT) {
        err_errno(&base->err, errno, "remove %s", job->path);
    }
}

static void record_free(struct record *r)
{
    list_remove(&r->item);
    free(r->id);
    free(r);
}

static struct record *find_record(struct attached_table *t, const char *id)
{
    list_for_each (it, &t->records) {
        struct record *r = container_of(it, struct record, item);
        if (str_equal(r->id, id))
            return r;
    }
    return NULL;
}

struct rpc_call *attached_record_take_call(struct attached_table *t, const char *id)
{
    struct record *r = find_record(t, id);

    return r ? take_ptr(r->call) : NULL;
}

bool attached_record_has_call(struct attached_table *t, const char *id)
{
    const struct record *r = find_record(t, id);

    return r && r->call;
}

static void answer(struct rpc_call *call, const char *id, const struct err *e)
{
    Podd__V1__SetProbesResponse response = PODD__V1__SET_PROBES_RESPONSE__INIT;

    response.container_id = (char *)id;
    if (call && err_is_set(e))
        rpc_fail(call, e);
    else if (call)
        rpc_reply(call, &response.base);
}

static void record_done(struct op *op, const char *unused, const struct err *e)
{
    struct record_job *job = op->job;
    struct attached_table *t = op->node->attached;
    struct record *record = find_record(t, job->id);
    struct rpc_call *call = take_ptr(record->call);
    bool again = record->again;

    record_free(record);
    if (e->code != ERR_OK)
        log_warn("node", job->id, "the record of its probes: %s", err_text(e));
    if (again)
        attached_record_sync(t, job->id, call);
    else
        answer(call, job->id, e);
    err_clear(&job->base.err);
    free(job->id);
    free(job->path);
    free(job->directory);
    free(job->data);
    free(job);
}

void attached_record_sync(struct attached_table *t, const char *id, struct rpc_call *call)
{
    const struct attached *a = attached_find(t, id);
    struct record *busy = find_record(t, id);

    if (busy) {
        busy->again = true;
        busy->call = call ? call : busy->call;
        return;
    }
    struct record *record = xnew(struct record);
    struct record_job *job = xnew(struct record_job);
    record->id = xstrdup(id);
    record->call = call;
    list_append(&t->records, &record->item);
    job->base.work = record_work;
    job->id = xstrdup(id);
    job->path = record_path(t, id);
    job->directory = xstrdup(t->directory);
    if (a)
        job->data = pack_record(a, &job->len);
    op_work(t->node->config.loop, op_new_for_node(t->node, record_done, job), &job->base);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static int restore_one(struct attached_table *t, const char *id, struct err *e)
{
    _cleanup_free_ char *path = record_path(t, id);
    const struct container *c = container_find(t->node->config.pods, id, NULL);
    _cleanup_bytes_ struct bytes data = {0};

    if (!c || !str_equal(c->id, id)) {
        if (unlink(path) < 0)
            return err_errno(e, errno, "remove %s", path);
        return 0;
    }
    if (file_read(AT_FDCWD, path, RECORD_SIZE_MAX, &data, e) < 0)
        return -1;
    Podd__V1__ProbedContainer *m =
        podd__v1__probed_container__unpack(NULL, data.len, (const uint8_t *)data.data);
    if (!m)
        return err_set(e, ERR_DATA_LOSS, "%s is not a record of probes", path);
    return attached_new(t, id, m, true, e) ? 0 : -1;
}

void attached_restore(struct attached_table *t)
{
    DIR *directory = opendir(t->directory);
    const struct dirent *entry;

    if (!directory && errno != ENOENT)
        log_warn("node", t->directory, "read the directory: %m");
    while (directory && (entry = readdir(directory))) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (entry->d_name[0] != '.' && restore_one(t, entry->d_name, &e) < 0)
            log_warn("node", entry->d_name, "its probes are lost: %s", err_text(&e));
    }
    if (directory)
        closedir(directory);
}

void attached_record_close(struct attached_table *t)
{
    while (!list_empty(&t->records)) {
        struct record *r = container_of(t->records.next, struct record, item);
        if (r->call)
            call_fail(take_ptr(r->call), ERR_UNAVAILABLE, "podd is stopping");
        record_free(r);
    }
}
