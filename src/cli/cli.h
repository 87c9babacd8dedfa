/*
 * cli.h - what podctl's commands share: options, the connection, output.
 *
 * A command is a row in the table of main.c and a function that gets its own arguments. It prints
 * its result on stdout and returns an exit status; errors go to stderr in one line.
 */
#ifndef CLI_H
#define CLI_H

#include "podd/base.h"
#include "podd/rpc.h"

#include "cri.pb-c.h"
#include "podd.pb-c.h"

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_NAME, OUTPUT_JSON, OUTPUT_YAML };

/* Exit statuses that scripts can rely on. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3, EXIT_NO_SUCH = 4 };

struct cli {
    const char *socket;
    enum output output;
    const char *namespace_;    /* "" when none was named */
    struct loop *loop;         /* made by cli_connect */
    struct rpc_client *client; /* likewise */
};

/* ---- Connection (connect.c)
 * ---------------------------------------------------------------------- */

void cli_connect(struct cli *cli);
/* Calls podd.v1 or runtime.v1. The answer is the caller's. On failure prints the error and *status
 * is the exit status. */
void *cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request, int *status);
void *cli_call_runtime(struct cli *cli, const char *method, const ProtobufCMessage *request,
                       int *status);
void *cli_call_images(struct cli *cli, const char *method, const ProtobufCMessage *request,
                      int *status);
/* Reads a stream to its end; the exit status. */
int cli_stream(struct cli *cli, const char *method, const ProtobufCMessage *request,
               void (*on_message)(void *arg, const ProtobufCMessage *message), void *arg);
int cli_fail(const struct err *e); /* prints; the exit status for that code */
/* "podctl: ..." on stderr and EXIT_USAGE. */
int cli_usage(const char *fmt, ...) PRINTF(1, 2);
void message_freep(void *message_ptr);
#define _cleanup_message_ CLEANUP(message_freep)

/* ---- Options (options.c)
 * --------------------------------------------------------------------------- */

struct option_spec {
    const char *name;   /* "--follow" */
    char letter;        /* 'f', or 0 */
    const char **value; /* takes a value, stored here */
    bool *flag;         /* or takes none */
    char ***list;       /* or may be given several times: a strv */
};
/* Takes the options out of argv wherever they stand, up to a "--"; what is left moves to the front
 * and is counted in *n. An unknown option is an error with a suggestion. */
int options_parse(char **argv, int *n, const struct option_spec *specs, size_t n_specs,
                  struct err *e) MUST_CHECK;
/* The index of "--" in argv, or argc. */
int find_dashes(int argc, char **argv);

/* ---- Output (table.c, format.c)
 * ---------------------------------------------------------------------- */

/* Rows of cells, aligned when printed. */
struct table;
struct table *table_new(void);
/* Cells are copied; the row ends with NULL. Control characters are escaped. */
void table_row(struct table *t, ...) __attribute__((sentinel));
/* This column's words are coloured on a terminal. */
void table_status_column(struct table *t, int column);
void table_print(const struct table *t);
void table_free(struct table *t);

bool terminal_has_colors(void);

/* Prints the whole message as JSON or YAML. */
void print_message(const struct cli *cli, const ProtobufCMessage *message);
/* "5s", "3m12s", "2h", "4d" since then; "-" for 0. Static storage, four in turn. */
const char *format_age(int64_t ns);
const char *format_bytes(uint64_t bytes);
/* A copy without control characters, for text that comes from containers and images. */
char *format_clean(const char *text);

/* ---- Commands
 * ------------------------------------------------------------------------------------------ */

typedef int command_fn(struct cli *cli, int argc, char **argv);
command_fn cmd_apply, cmd_attach, cmd_cp, cmd_debug, cmd_delete, cmd_describe, cmd_diff, cmd_events,
    cmd_exec, cmd_get, cmd_image, cmd_images, cmd_logs, cmd_port_forward, cmd_probe, cmd_pull,
    cmd_restart, cmd_system, cmd_top, cmd_version, cmd_why;

/* The declared pod of that name; NULL and *status on failure. */
Podd__V1__GetPodResponse *get_pod(struct cli *cli, const char *name, int *status);
/* All containers of a pod: init, ordinary, ephemeral. */
size_t container_count(const Podd__V1__PodStatus *s);
const Podd__V1__ContainerStatus *container_at(const Podd__V1__PodStatus *s, size_t i);
const Podd__V1__ContainerStatus *find_container(const Podd__V1__Pod *pod, const char *name);
/* The container of a pod by name, or its only one; NULL and *status. */
const Podd__V1__ContainerStatus *pick_container(const Podd__V1__Pod *pod, const char *name,
                                                int *status);

/* The one word that tells most: why a container waits or how it ended, else the phase. */
const char *pod_word(const Podd__V1__Pod *pod);
/* Kinds of objects: "cm" -> "ConfigMap"; NULL: no such kind. */
#define KINDS "pods, configmaps, secrets and namespaces"
const char *kind_named(const char *word);
int get_objects(struct cli *cli, const char *kind, const char *name /* NULL: all */);
int describe_object(struct cli *cli, const char *kind, const char *name);

/* Applies, or with dry_run only checks, what is in the files and directories, in one request. NULL
 * and *status on failure. */
Podd__V1__ApplyResponse *manifests_send(struct cli *cli, const char *command, char **paths,
                                        bool dry_run, int *status);

const char *probe_result_text(Podd__V1__ProbeResult result);

#endif
