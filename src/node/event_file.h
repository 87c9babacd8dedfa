/*
 * event_file.h - the history of events on disk: what outlives a restart of podd.
 *
 * A file of records, appended one by one; each is the length of a packed podd.v1.Event (four bytes,
 * this machine's order), a checksum of it, and the message. A reader stops at the first record that
 * is not whole, which is where a podd was killed while it wrote. The write is a copy into the page
 * cache, like a line of the log, so the loop makes it itself; nothing is flushed, for the file
 * lies in <state>, whose life ends with the machine's.
 */
#ifndef NODE_EVENT_FILE_H
#define NODE_EVENT_FILE_H

#include "podd/base.h"

#include "podd.pb-c.h"

struct event_file;
struct event_file *event_file_open(const char *path);
void event_file_close(struct event_file *f); /* NULL is fine */
/* Calls fn for each whole record, oldest first. The message is valid during the call. */
void event_file_read(const struct event_file *f,
                     void (*fn)(void *arg, const Podd__V1__Event *event), void *arg);
/* Adds a record to the file. Without effect after a failure, until the next event_file_replace. */
void event_file_append(struct event_file *f, const Podd__V1__Event *event);
/* Records in the file. */
size_t event_file_count(const struct event_file *f);

/* Has the file hold just the records that were added to `content`. */
void event_file_add_record(struct strbuf *content, const Podd__V1__Event *event);
void event_file_replace(struct event_file *f, const struct strbuf *content, size_t count);

#endif
