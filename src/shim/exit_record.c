/*
 * exit_record.c - how a container ended, kept on disk for a daemon that was not there to see it.
 *
 * The shim writes the record before it reaps the container, and the file is complete or absent
 * (temporary file, fsync, rename), so a reader that finds it may believe it. Its id is in it once
 * more: a file that was renamed by hand is not taken for another container's.
 */
#include <fcntl.h>
#include <stdio.h>

#include "exit_record.h"

enum { ID_MAX = 128, RECORD_MAX = 4096 };

struct record_name {
    char text[ID_MAX + sizeof(".exit")];
};

bool exit_record_id_ok(const char *id)
{
    static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(id);

    return len > 0 && len <= ID_MAX && id[0] != '.' && strspn(id, fit) == len;
}

static int record_name(const char *id, struct record_name *ret, struct err *e)
{
    if (!exit_record_id_ok(id))
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a container id", id);
    snprintf(ret->text, sizeof(ret->text), "%s.exit", id);
    return 0;
}

int exit_record_write(int dirfd, const char *id, const Podd__Shim__ExitInfo *exit, struct err *e)
{
    Podd__Shim__ContainerExit record = PODD__SHIM__CONTAINER_EXIT__INIT;
    struct record_name name;
    uint8_t packed[RECORD_MAX];

    if (record_name(id, &name, e) < 0)
        return -1;
    record.id = (char *)id;
    record.exit = (Podd__Shim__ExitInfo *)exit;
    size_t len = podd__shim__container_exit__pack(&record, packed); /* an id and four numbers */
    return file_write_atomic(dirfd, name.text, packed, len, 0600, true, e);
}

int exit_record_read(int dirfd, const char *id, Podd__Shim__ExitInfo **ret, struct err *e)
{
    _cleanup_bytes_ struct bytes packed = {0};
    struct record_name name;

    if (record_name(id, &name, e) < 0)
        return -1;
    if (file_read(dirfd, name.text, RECORD_MAX, &packed, e) < 0) {
        if (errno == ENOENT)
            e->code = ERR_NOT_FOUND;
        return err_wrap(e, "exit record of container %s", id);
    }
    Podd__Shim__ContainerExit *record =
        podd__shim__container_exit__unpack(NULL, packed.len, packed.data);
    if (!record || !str_equal(record->id, id) || !record->exit) {
        if (record)
            podd__shim__container_exit__free_unpacked(record, NULL);
        return err_set(e, ERR_DATA_LOSS, "exit record of container %s: %s is damaged", id,
                       name.text);
    }
    *ret = take_ptr(record->exit);
    podd__shim__container_exit__free_unpacked(record, NULL);
    return 0;
}

int exit_record_remove(int dirfd, const char *id, struct err *e)
{
    struct record_name name;

    if (record_name(id, &name, e) < 0)
        return -1;
    if (unlinkat(dirfd, name.text, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the exit record of container %s", id);
    return 0;
}
