/*
 * cni-json.h - small things around jansson that the files of CNI mode share.
 */
#ifndef PODD_NET_CNI_JSON_H
#define PODD_NET_CNI_JSON_H

#include <jansson.h>

#include <podd/base.h>

static inline void json_unref(json_t **j)
{
    json_decref(*j);
}
#define _cleanup_json_ CLEANUP(json_unref)

/* A copy for people: one line, bounded, valid UTF-8; all that is not printable is a '?'. What is
 * not ASCII stays only when `utf8` says that it is known to be valid (it came out of jansson). */
enum { CNI_TEXT_MAX = 1024 };
char *cni_text(const char *data, size_t len, bool utf8);

#endif
