/*
 * message.h - what a container said about its end: its termination message file, or the end of its
 * log. Pure but for the reading of those two files.
 */
#ifndef NODE_MESSAGE_H
#define NODE_MESSAGE_H

#include "podd/base.h"

/* The beginning of a termination message file; NULL when there is none or it is empty. Caller
 * frees. */
char *message_from_file(const char *path);
/* The text of the last lines of a container's log file; NULL when there is none. Caller frees. */
char *message_from_log(const char *path);

/* The texts of CRI log lines, without time, stream and tag; at most the last MESSAGE_LINES_MAX
 * lines and MESSAGE_LOG_MAX bytes. A first line that is not whole is left out when `cut`. */
#define MESSAGE_LINES_MAX 80
#define MESSAGE_LOG_MAX 2048
char *message_of_log_text(const char *text, size_t len, bool cut);

#endif
