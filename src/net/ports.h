/*
 * ports.h - which published ports of the node belong to which sandbox, and as files.
 */
#ifndef PODD_NET_PORTS_H
#define PODD_NET_PORTS_H

#include <podd/net.h>

#include "lease.h"
#include "rules.h"

/* What one sandbox publishes. */
struct published {
    char *id;
    struct rules_port *ports; /* owned */
    size_t count;
};

/* Zeroed is empty. */
struct ports {
    int dir;           /* <state>/net/ports: one file per sandbox that publishes any */
    struct map *by_id; /* id -> struct published */
};

int ports_open(struct ports *p, int state_fd, struct err *e) MUST_CHECK;
void ports_close(struct ports *p);

/* What the request means for a pod with these addresses: one entry per port and family. The caller
 * frees *ret. */
int ports_resolve(const struct net_port *ports, size_t n_ports, const struct holder *pod,
                  struct rules_port **ret, size_t *ret_count, struct err *e) MUST_CHECK;
/* ERR_FAILED_PRECONDITION when one of them is published by another sandbox, or when a process of
 * the node listens there. */
int ports_check(const struct ports *p, const struct rules_port *ports, size_t count, struct err *e)
    MUST_CHECK;
/* Writes down that the sandbox publishes these, before they are. */
int ports_add(struct ports *p, const char *id, const struct rules_port *ports, size_t count,
              struct err *e) MUST_CHECK;
/* Forgets it, after they are gone. Success when there is nothing. */
int ports_remove(struct ports *p, const char *id, struct err *e) MUST_CHECK;
const struct published *ports_find(const struct ports *p, const char *id); /* NULL when none */
/* All of all sandboxes; the caller frees *ret. */
void ports_all(const struct ports *p, struct rules_port **ret, size_t *ret_count);

/* One entry as a line of the file, and back. */
void ports_format(const struct rules_port *port, struct strbuf *to);
int ports_parse(const char *line, struct rules_port *ret) MUST_CHECK;

#endif
