/*
 * record_codec.c - records to bytes and back; pure.
 *
 * A record is a header of four little-endian 32-bit numbers (magic, version, length and CRC-32 of
 * what follows) and a packed message of proto/record.proto. Decoding trusts nothing: a record can
 * be cut short, damaged or from a newer podd, and must then be refused with a reason; what it
 * accepts is well-formed as far as the rest of the room relies on it.
 */
#include <endian.h>
#include <zlib.h>

#include "private.h"
#include "record.pb-c.h"

enum { RECORD_MAGIC = 0x52444f50 /* "PODR" */, RECORD_VERSION = 1 };

struct header {
    uint32_t magic, version, length, checksum;
};

typedef Podd__Record__Sandbox sandbox_record_t;
typedef Podd__Record__Container container_record_t;
typedef Podd__Record__KeyValue key_value_record_t;
typedef Podd__Record__IdRange id_range_record_t;

bool id_is_valid(const char *id)
{
    return strlen(id) == ID_SIZE - 1 && strspn(id, "0123456789abcdef") == ID_SIZE - 1;
}

/* ---- Encoding ------------------------------------------------------------------------------- */

static struct bytes frame(const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    struct bytes b = {.len = sizeof(struct header) + length};

    b.data = xmalloc(b.len + 1);
    protobuf_c_message_pack(message, b.data + sizeof(struct header));
    struct header header = {
        .magic = htole32(RECORD_MAGIC),
        .version = htole32(RECORD_VERSION),
        .length = htole32((uint32_t)length),
        .checksum = htole32((uint32_t)crc32(0, b.data + sizeof(struct header), (unsigned)length)),
    };
    memcpy(b.data, &header, sizeof(header));
    b.data[b.len] = '\0';
    return b;
}

/* The messages are packed at once: they borrow every string. One block holds both the messages and
 * the array of pointers to them; the caller frees it. */
static key_value_record_t **borrow_key_values(const struct key_value *kvs, size_t n)
{
    key_value_record_t **list = xmalloc((n ? n : 1) * (sizeof(*list) + sizeof(key_value_record_t)));
    key_value_record_t *messages = (key_value_record_t *)(list + n);

    for (size_t i = 0; i < n; i++) {
        podd__record__key_value__init(&messages[i]);
        messages[i].key = kvs[i].key;
        messages[i].value = kvs[i].value;
        list[i] = &messages[i];
    }
    return list;
}

static id_range_record_t **borrow_ranges(const struct id_range *ranges, size_t n)
{
    id_range_record_t **list = xmalloc((n ? n : 1) * (sizeof(*list) + sizeof(id_range_record_t)));
    id_range_record_t *messages = (id_range_record_t *)(list + n);

    for (size_t i = 0; i < n; i++) {
        podd__record__id_range__init(&messages[i]);
        messages[i].container_id = ranges[i].container_id;
        messages[i].host_id = ranges[i].host_id;
        messages[i].length = ranges[i].length;
        list[i] = &messages[i];
    }
    return list;
}

struct bytes record_encode_sandbox(const struct sandbox *s)
{
    const struct sandbox_private *priv = s->priv;
    sandbox_record_t m = PODD__RECORD__SANDBOX__INIT;
    char *addresses[NET_ADDRESSES_MAX];

    _cleanup_free_ key_value_record_t **labels = borrow_key_values(s->labels, s->n_labels);
    _cleanup_free_ key_value_record_t **annotations =
        borrow_key_values(s->annotations, s->n_annotations);
    _cleanup_free_ id_range_record_t **uids = borrow_ranges(priv->uid_maps, priv->n_uid_maps);
    _cleanup_free_ id_range_record_t **gids = borrow_ranges(priv->gid_maps, priv->n_gid_maps);
    for (size_t i = 0; i < s->addresses.count; i++)
        addresses[i] = (char *)s->addresses.text[i];

    m.id = s->id;
    m.boot_id = priv->boot_id;
    m.name = s->name;
    m.pod_namespace = s->namespace_;
    m.uid = s->uid;
    m.attempt = s->attempt;
    m.created_at = s->created_at;
    m.ready = s->state == SANDBOX_READY;
    m.stopped = priv->stopped;
    m.shim_pid = priv->shim_pid;
    m.shim_start_time = priv->shim_start_time;
    m.n_addresses = s->addresses.count;
    m.addresses = addresses;
    m.host_network = s->host_network;
    m.host_ipc = priv->host_ipc;
    m.privileged = priv->privileged;
    m.shared_pid = priv->shared_pid;
    m.n_uid_maps = priv->n_uid_maps;
    m.uid_maps = uids;
    m.n_gid_maps = priv->n_gid_maps;
    m.gid_maps = gids;
    m.n_labels = s->n_labels;
    m.labels = labels;
    m.n_annotations = s->n_annotations;
    m.annotations = annotations;
    m.runtime_handler = s->runtime_handler;
    m.log_directory = s->log_directory;
    m.cgroup_parent = s->cgroup_parent;
    m.hostname = s->hostname;
    m.origin = s->origin;
    m.asked = (ProtobufCBinaryData){.len = s->asked.len, .data = s->asked.data};
    m.fingerprint = priv->fingerprint;
    return frame(&m.base);
}

static void fill_outcome(container_record_t *m, const struct container *c)
{
    m->started_at = c->started_at;
    m->pid = c->pid;
    m->exited = c->state == CONTAINER_EXITED;
    m->finished_at = c->finished_at;
    m->exit_code = c->exit_code;
    m->exit_signal = c->exit_signal;
    m->reason = c->reason;
    m->message = c->message;
}

struct bytes record_encode_container(const struct container *c)
{
    const struct container_private *priv = c->priv;
    container_record_t m = PODD__RECORD__CONTAINER__INIT;
    _cleanup_bytes_ struct bytes process = {0};

    _cleanup_free_ key_value_record_t **labels = borrow_key_values(c->labels, c->n_labels);
    _cleanup_free_ key_value_record_t **annotations =
        borrow_key_values(c->annotations, c->n_annotations);
    process.len = podd__shim__process_spec__get_packed_size(priv->process);
    process.data = xmalloc(process.len + 1);
    podd__shim__process_spec__pack(priv->process, process.data);

    fill_outcome(&m, c);
    m.id = c->id;
    m.sandbox_id = c->sandbox->id;
    m.name = c->name;
    m.attempt = c->attempt;
    m.created_at = c->created_at;
    m.image = c->image;
    m.image_id = c->image_id;
    m.image_digest = c->image_digest;
    m.log_path = c->log_path;
    m.cgroup_path = c->cgroup_path;
    m.n_labels = c->n_labels;
    m.labels = labels;
    m.n_annotations = c->n_annotations;
    m.annotations = annotations;
    m.stop_signal = c->stop_signal;
    m.n_groups = c->n_groups;
    m.groups = c->groups;
    m.stdin_open = c->stdin_open;
    m.stdin_once = c->stdin_once;
    m.pid_target_mode = priv->pid_target_mode;
    m.pid_target = priv->pid_target;
    m.volume_images = priv->volume_images;
    m.n_volume_images = strv_len(priv->volume_images);
    m.process = (ProtobufCBinaryData){.len = process.len, .data = process.data};
    m.asked = (ProtobufCBinaryData){.len = c->asked.len, .data = c->asked.data};
    m.fingerprint = priv->fingerprint;
    return frame(&m.base);
}

/* ---- Decoding ------------------------------------------------------------------------------- */

static int unframe(const void *data, size_t len, const uint8_t **ret, size_t *ret_len,
                   struct err *e)
{
    struct header header;

    if (len < sizeof(header))
        return err_set(e, ERR_DATA_LOSS, "the record is cut short (%zu bytes)", len);
    memcpy(&header, data, sizeof(header));
    const uint8_t *payload = (const uint8_t *)data + sizeof(header);
    size_t length = len - sizeof(header);
    if (le32toh(header.magic) != RECORD_MAGIC)
        return err_set(e, ERR_DATA_LOSS, "this is no record of podd");
    if (le32toh(header.version) != RECORD_VERSION)
        return err_set(e, ERR_DATA_LOSS, "the record has version %u; this podd knows version %d",
                       le32toh(header.version), RECORD_VERSION);
    if (le32toh(header.length) != length)
        return err_set(e, ERR_DATA_LOSS, "the record has %zu bytes where it says %u", length,
                       le32toh(header.length));
    if (le32toh(header.checksum) != (uint32_t)crc32(0, payload, (unsigned)length))
        return err_set(e, ERR_DATA_LOSS, "the record's checksum is wrong");
    *ret = payload;
    *ret_len = length;
    return 0;
}

static struct key_value *take_key_values(key_value_record_t **list, size_t n)
{
    struct key_value *kvs = xcalloc(n ? n : 1, sizeof(*kvs));

    for (size_t i = 0; i < n; i++) {
        kvs[i].key = xstrdup(list[i]->key);
        kvs[i].value = xstrdup(list[i]->value);
    }
    return kvs;
}

static struct id_range *take_ranges(id_range_record_t **list, size_t n)
{
    struct id_range *ranges = xcalloc(n ? n : 1, sizeof(*ranges));

    for (size_t i = 0; i < n; i++)
        ranges[i] = (struct id_range){.container_id = list[i]->container_id,
                                      .host_id = list[i]->host_id,
                                      .length = list[i]->length};
    return ranges;
}

static int check_sandbox(const sandbox_record_t *m, struct err *e)
{
    if (!id_is_valid(m->id))
        return err_set(e, ERR_DATA_LOSS, "the record's id is malformed");
    if (m->n_addresses > NET_ADDRESSES_MAX)
        return err_set(e, ERR_DATA_LOSS, "the record has %zu addresses", m->n_addresses);
    for (size_t i = 0; i < m->n_addresses; i++)
        if (strlen(m->addresses[i]) >= sizeof(((struct net_addresses *)0)->text[0]))
            return err_set(e, ERR_DATA_LOSS, "an address in the record is malformed");
    if (m->ready && (m->shim_pid <= 0 || m->shim_pid > INT32_MAX))
        return err_set(e, ERR_DATA_LOSS, "the record names no shim");
    return 0;
}

static struct sandbox *sandbox_from(const sandbox_record_t *m)
{
    struct sandbox *s = sandbox_new(m->id);
    struct sandbox_private *priv = s->priv;

    s->name = xstrdup(m->name);
    s->namespace_ = xstrdup(m->pod_namespace);
    s->uid = xstrdup(m->uid);
    s->attempt = m->attempt;
    s->state = m->ready ? SANDBOX_READY : SANDBOX_NOTREADY;
    s->created_at = m->created_at;
    s->addresses.count = m->n_addresses;
    for (size_t i = 0; i < m->n_addresses; i++)
        memcpy(s->addresses.text[i], m->addresses[i], strlen(m->addresses[i]) + 1);
    s->host_network = m->host_network;
    s->labels = take_key_values(m->labels, m->n_labels);
    s->n_labels = m->n_labels;
    s->annotations = take_key_values(m->annotations, m->n_annotations);
    s->n_annotations = m->n_annotations;
    s->runtime_handler = xstrdup(m->runtime_handler);
    s->log_directory = xstrdup(m->log_directory);
    s->cgroup_parent = xstrdup(m->cgroup_parent);
    s->hostname = xstrdup(m->hostname);
    s->origin = xstrdup(m->origin);
    s->asked = bytes_dup(&(struct bytes){.data = m->asked.data, .len = m->asked.len});
    priv->boot_id = xstrdup(m->boot_id);
    priv->stopped = m->stopped;
    priv->shim_pid = (pid_t)m->shim_pid;
    priv->shim_start_time = m->shim_start_time;
    priv->host_ipc = m->host_ipc;
    priv->privileged = m->privileged;
    priv->shared_pid = m->shared_pid;
    priv->uid_maps = take_ranges(m->uid_maps, m->n_uid_maps);
    priv->n_uid_maps = m->n_uid_maps;
    priv->gid_maps = take_ranges(m->gid_maps, m->n_gid_maps);
    priv->n_gid_maps = m->n_gid_maps;
    priv->fingerprint = m->fingerprint;
    return s;
}

int record_decode_sandbox(const void *data, size_t len, struct sandbox **ret, struct err *e)
{
    const uint8_t *payload;
    size_t length;

    if (unframe(data, len, &payload, &length, e) < 0)
        return -1;
    sandbox_record_t *m = podd__record__sandbox__unpack(NULL, length, payload);
    if (!m)
        return err_set(e, ERR_DATA_LOSS, "the record cannot be decoded");
    int r = check_sandbox(m, e);
    if (r == 0)
        *ret = sandbox_from(m);
    podd__record__sandbox__free_unpacked(m, NULL);
    return r;
}

static int check_container(const container_record_t *m, struct err *e)
{
    if (!id_is_valid(m->id) || !id_is_valid(m->sandbox_id))
        return err_set(e, ERR_DATA_LOSS, "an id in the record is malformed");
    if (m->pid < 0 || m->pid > INT32_MAX)
        return err_set(e, ERR_DATA_LOSS, "the record's process id is malformed");
    if (m->cgroup_path[0] != '/' || strstr(m->cgroup_path, "/.."))
        return err_set(e, ERR_DATA_LOSS, "the record's cgroup path is malformed");
    return 0;
}

static struct container *container_from(const container_record_t *m)
{
    struct container *c = container_new(m->id);
    struct container_private *priv = c->priv;

    free(c->reason);
    free(c->message);
    c->name = xstrdup(m->name);
    c->attempt = m->attempt;
    /* Whether one that started still runs is for recover.c to find out. */
    c->state = m->exited            ? CONTAINER_EXITED
               : m->started_at != 0 ? CONTAINER_RUNNING
                                    : CONTAINER_CREATED;
    c->created_at = m->created_at;
    c->started_at = m->started_at;
    c->finished_at = m->finished_at;
    c->exit_code = m->exit_code;
    c->exit_signal = m->exit_signal;
    c->reason = xstrdup(m->reason);
    c->message = xstrdup(m->message);
    c->pid = c->state == CONTAINER_RUNNING ? (pid_t)m->pid : 0;
    c->image = xstrdup(m->image);
    c->image_id = xstrdup(m->image_id);
    c->image_digest = xstrdup(m->image_digest);
    c->log_path = xstrdup(m->log_path);
    c->cgroup_path = xstrdup(m->cgroup_path);
    c->labels = take_key_values(m->labels, m->n_labels);
    c->n_labels = m->n_labels;
    c->annotations = take_key_values(m->annotations, m->n_annotations);
    c->n_annotations = m->n_annotations;
    c->stop_signal = m->stop_signal;
    c->groups = xmemdup(m->groups, m->n_groups * sizeof(*m->groups));
    c->n_groups = m->n_groups;
    c->stdin_open = m->stdin_open;
    c->stdin_once = m->stdin_once;
    c->asked = bytes_dup(&(struct bytes){.data = m->asked.data, .len = m->asked.len});
    priv->pid_target_mode = m->pid_target_mode;
    priv->pid_target = xstrdup(m->pid_target);
    priv->volume_images = strv_dup(m->volume_images, m->n_volume_images);
    priv->fingerprint = m->fingerprint;
    return c;
}

int record_decode_container(const void *data, size_t len, struct container **ret,
                            char **ret_sandbox_id, struct err *e)
{
    const uint8_t *payload;
    size_t length;

    if (unframe(data, len, &payload, &length, e) < 0)
        return -1;
    container_record_t *m = podd__record__container__unpack(NULL, length, payload);
    if (!m)
        return err_set(e, ERR_DATA_LOSS, "the record cannot be decoded");
    process_spec_t *process =
        podd__shim__process_spec__unpack(NULL, m->process.len, m->process.data);
    int r = check_container(m, e);
    if (r == 0 && !process)
        r = err_set(e, ERR_DATA_LOSS, "the process in the record cannot be decoded");
    if (r == 0) {
        struct container *c = container_from(m);
        c->priv->process = take_ptr(process);
        c->uid = c->priv->process->uid;
        c->gid = c->priv->process->gid;
        c->tty = c->priv->process->tty;
        container_set_env(c);
        *ret = c;
        *ret_sandbox_id = xstrdup(m->sandbox_id);
    }
    if (process)
        podd__shim__process_spec__free_unpacked(process, NULL);
    podd__record__container__free_unpacked(m, NULL);
    return r;
}
