/*
 * stream_status.c - how a session ended, in the words of the error stream: a JSON object of the
 * form of metav1.Status from the fourth version of the protocol on, before that plain text, and
 * nothing for success.
 */
#include <jansson.h>
#include <stdio.h>

#include "stream_command.h"

/* Takes the document. */
static char *render(json_t *document)
{
    _cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);

    json_decref(document);
    return text ? take_ptr(text) : xstrdup("{\"status\":\"Failure\"}");
}

char *status_success(bool json)
{
    return xstrdup(json ? "{\"status\":\"Success\"}" : "");
}

char *status_exit_code(bool json, int exit_code)
{
    _cleanup_free_ char *message =
        xasprintf("command terminated with non-zero exit code: %d", exit_code);
    char code[16];

    if (exit_code == 0)
        return status_success(json);
    if (!json)
        return take_ptr(message);
    snprintf(code, sizeof(code), "%d", exit_code);
    return render(json_pack("{s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "status", "Failure", "reason",
                            "NonZeroExitCode", "message", message, "details", "causes", "reason",
                            "ExitCode", "message", code));
}

char *status_failure(bool json, const struct err *e)
{
    const char *text = str_empty(err_text(e)) ? "the session failed" : err_text(e);

    if (!json)
        return xstrdup(text);
    json_t *message = json_string(text);
    if (!message) /* not UTF-8: what a command is called may be any bytes */
        message = json_string("the command cannot be run, and its error message is not UTF-8");
    return render(json_pack("{s:s, s:s, s:i, s:o}", "status", "Failure", "reason", "InternalError",
                            "code", 500, "message", message));
}
