/*
 * podd/base.h - what every other room stands on: errors, log, strings, arrays, maps, fds, files,
 * time, spawning and the event loop.
 *
 * Conventions of the whole project
 *
 *   Errors     A function that knows what it was working on takes `struct err *e` last and returns
 *              0, or -1 with *e set. Thin wrappers of a system call take no `e` and return 0 or
 *              -errno. Library code never logs an error that it also returns.
 *   Ownership  A plain name borrows; `_take` owns on success; `ret_x` out-parameters are written
 *              only on success. Every fd and pointer is declared with a cleanup attribute and
 *              handed over with take_fd()/take_ptr().
 *   Callbacks  `const struct err *e` of a callback is never NULL: success is ERR_NONE, code ERR_OK.
 *   Memory     Allocation never fails: the x-functions abort. Sizes from outside are capped first.
 *   Threads    Unless a function says otherwise it belongs to the loop's thread.
 *   Fds        Every fd is born O_CLOEXEC.
 */
#ifndef PODD_BASE_H
#define PODD_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* ---- Errors ------------------------------------------------------------------------------- */

/* The codes are gRPC's (grpc.github.io, "Status codes"), so that the edge needs no table. */
enum err_code {
    ERR_OK = 0,
    ERR_CANCELLED = 1,
    ERR_UNKNOWN = 2,
    ERR_INVALID_ARGUMENT = 3,
    ERR_DEADLINE_EXCEEDED = 4,
    ERR_NOT_FOUND = 5,
    ERR_ALREADY_EXISTS = 6,
    ERR_PERMISSION_DENIED = 7,
    ERR_RESOURCE_EXHAUSTED = 8,
    ERR_FAILED_PRECONDITION = 9,
    ERR_ABORTED = 10,
    ERR_OUT_OF_RANGE = 11,
    ERR_UNIMPLEMENTED = 12,
    ERR_INTERNAL = 13,
    ERR_UNAVAILABLE = 14,
    ERR_DATA_LOSS = 15,
    ERR_UNAUTHENTICATED = 16,
};

/* One failure: a code for programs and one sentence for people. Zeroed means "no error". */
struct err {
    enum err_code code;
    char *message; /* owned; NULL when code is ERR_OK */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        ERR_OK, NULL                                                                               \
    }

#define ERR_NONE (&(const struct err)ERR_INIT)

/* Sets an empty *e. Returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
/* Like err_set, with ": <text of errnum>" appended. EACCES and EPERM become ERR_PERMISSION_DENIED,
 * ENOSPC, EDQUOT, EMFILE, ENFILE and ENOMEM ERR_RESOURCE_EXHAUSTED, ETIMEDOUT
 * ERR_DEADLINE_EXCEEDED, all else ERR_UNKNOWN (a missing file is not a missing object).
 * errnum may be given positive or negative. */
int err_errno(struct err *e, int errnum, const char *fmt, ...) PRINTF(3, 4);
/* Prefixes the message with "<text>: ". Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Frees and zeroes. */
void err_clear(struct err *e);
/* Moves *src into an empty *dst and zeroes *src. Returns -1. */
int err_move(struct err *dst, struct err *src);
/* A copy of *src in an empty *dst. */
void err_copy(struct err *dst, const struct err *src);
/* "" when there is no error. */
const char *err_text(const struct err *e);
/* "NOT_FOUND" and so on; "UNKNOWN" for a number outside the enum. */
const char *err_code_name(enum err_code code);

#define _cleanup_err_ CLEANUP(err_clear)

/* ---- Memory ------------------------------------------------------------------------------- */

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *data, size_t len); /* one NUL is added behind the copy */
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);
char *xvasprintf(const char *fmt, va_list ap) PRINTF(1, 0);

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

static inline void free_ptr(void *p)
{
    free(*(void **)p);
}
#define _cleanup_free_ CLEANUP(free_ptr)

#define take_ptr(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) _taken = (p);                                                                \
        (p) = NULL;                                                                                \
        _taken;                                                                                    \
    })

/* Makes room for one more element in the array *items of `count` elements; returns its address,
 * zeroed, and counts it. Grows by doubling, so the count alone tells the capacity. */
void *array_push(void *items_ptr, size_t *count, size_t element_size);

/* Bytes with a length. `data` has one NUL behind it when made by base. */
struct bytes {
    uint8_t *data;
    size_t len;
};
void bytes_free(struct bytes *b);
#define _cleanup_bytes_ CLEANUP(bytes_free)

/* ---- Strings ------------------------------------------------------------------------------ */

bool str_equal(const char *a, const char *b); /* two NULLs are equal */
bool str_empty(const char *s);                /* NULL or "" */
bool str_starts_with(const char *s, const char *prefix);
bool str_ends_with(const char *s, const char *suffix);

/* Strict: the whole string, decimal digits only, at most `max`. 0 or -EINVAL/-ERANGE. */
int parse_uint(const char *s, uint64_t max, uint64_t *ret) MUST_CHECK;
/* The same with an optional leading minus. */
int parse_int(const char *s, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;

/* The nearest of `candidates` (NULL-terminated) by edit distance, or NULL when none is near
 * enough to be what was meant. For "did you mean". */
const char *str_closest(const char *s, const char *const *candidates);

void hex_encode(const void *data, size_t len, char *ret /* 2 * len + 1 */);
/* A new id: 64 lower-case hex digits out of getrandom(2). Caller frees. */
char *id_new(void);

/* A string that grows. Zeroed is empty; `data` is NUL-terminated once anything was added. */
struct strbuf {
    char *data;
    size_t len;
    size_t cap;
};
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);
char *strbuf_take(struct strbuf *b); /* never NULL; the buffer is empty again; caller frees */
void strbuf_free(struct strbuf *b);
#define _cleanup_strbuf_ CLEANUP(strbuf_free)

/* NULL-terminated vectors of owned strings; NULL is the empty vector. */
size_t strv_len(char *const *v);
char **strv_dup(char *const *v, size_t n); /* the first n */
void strv_push(char ***v, const char *s);  /* copies s */
void strv_free(char **v);
void strv_freep(char ***v);
#define _cleanup_strv_ CLEANUP(strv_freep)

struct key_value {
    char *key;
    char *value;
};

/* ---- Quantities: "100m", "64Mi", "0.5", "2e3", as Kubernetes writes them ----------------------
 */

struct quantity {
    bool set;
    int64_t units; /* rounded up: bytes, whole CPUs */
    int64_t milli; /* thousandths, rounded up; INT64_MAX when there are more */
};
/* 0, -EINVAL (not a quantity, or negative), -ERANGE (more than fits). */
int quantity_parse(const char *text, struct quantity *ret) MUST_CHECK;

/* ---- Map: string key -> pointer ------------------------------------------------------------- */

/* Open hash table; keys are copied, values are borrowed. */
struct map;
struct map *map_new(void);
void map_free(struct map *m);
void *map_get(const struct map *m, const char *key);
/* Stores and returns the value that was there before, or NULL. value must not be NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_remove(struct map *m, const char *key); /* returns the removed value or NULL */
size_t map_count(const struct map *m);
/* Walks all entries: start with *cursor = 0; false at the end. Entries may be removed while
 * walking, not added. */
bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value);

/* ---- Intrusive list ------------------------------------------------------------------------- */

struct list {
    struct list *prev, *next;
};
static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_append(struct list *head, struct list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
/* The item is left initialised, so removing twice is harmless. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, head)                                                               \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

/* ---- File descriptors ----------------------------------------------------------------------- */

void fd_close(int fd); /* keeps errno; -1 is ignored */
static inline void fd_closep(int *fd)
{
    fd_close(*fd);
}
#define _cleanup_close_ CLEANUP(fd_closep)

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}
int fd_dup(int fd);                                     /* F_DUPFD_CLOEXEC; fd or -errno */
int fd_write_all(int fd, const void *data, size_t len); /* 0 or -errno; retries EINTR */
ssize_t fd_read_full(int fd, void *buf, size_t len);    /* bytes up to EOF or len, or -errno */
int fd_set_nonblock(int fd, bool on);                   /* 0 or -errno */

/* ---- Files ---------------------------------------------------------------------------------- */

/* Reads a whole file of at most `max` bytes; longer is an error. dirfd as in openat(2). */
int file_read(int dirfd, const char *path, size_t max, struct bytes *ret, struct err *e) MUST_CHECK;
/* Writes to a temporary file beside `path`, then renames: readers see the old or the new content.
 * With `durable` the content is on disk before the rename (power loss); without, it is safe
 * against the death of any process. */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                      bool durable, struct err *e) MUST_CHECK;
/* mkdir -p of every missing component, following links that lie outside podd's own trees. */
int dir_ensure(const char *path, mode_t mode, struct err *e) MUST_CHECK;
/* Removes `name` under dirfd with all below it. Never follows a link, never crosses to another
 * file system. Missing is success. */
int tree_remove(int dirfd, const char *name, struct err *e) MUST_CHECK;
/* What is below the directory `name` takes, as du(1) counts it. Follows no link and crosses to no
 * other file system. -ELOOP when it is deeper than any sensible tree. */
struct tree_size {
    uint64_t bytes, inodes;
};
int tree_measure(int dirfd, const char *name, struct tree_size *ret, struct err *e) MUST_CHECK;
/* openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS below an untrusted root. fd or -errno. */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode);

/* ---- Time ----------------------------------------------------------------------------------- */

#define NS_PER_SEC 1000000000LL
#define NS_PER_MS 1000000LL
int64_t time_now_ns(void);  /* CLOCK_REALTIME: what people and CRI see */
int64_t time_mono_ns(void); /* CLOCK_MONOTONIC: what durations are measured with */
/* "2006-01-02T15:04:05.000000000Z" into a buffer of TIME_TEXT_SIZE. Always nine digits, UTC. */
#define TIME_TEXT_SIZE 36
void time_format(int64_t ns, char *ret);
/* The kernel's boot id (random/boot_id), 36 characters; constant for the life of the process. */
const char *boot_id(void);

/* ---- Log ------------------------------------------------------------------------------------ */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
int log_level_parse(const char *s,
                    enum log_level *ret); /* "error" "warn" "info" "debug"; -EINVAL */
/* One line on stderr: `ts level room object message`. object may be NULL ("-"). Control characters
 * are escaped. One write(2) per line; any thread. */
void log_write(enum log_level level, const char *room, const char *object, const char *fmt, ...)
    PRINTF(4, 5);
#define log_error(room, object, ...) log_write(LOG_ERROR, room, object, __VA_ARGS__)
#define log_warn(room, object, ...) log_write(LOG_WARN, room, object, __VA_ARGS__)
#define log_info(room, object, ...) log_write(LOG_INFO, room, object, __VA_ARGS__)
#define log_debug(room, object, ...)                                                               \
    do {                                                                                           \
        if (log_get_level() >= LOG_DEBUG)                                                          \
            log_write(LOG_DEBUG, room, object, __VA_ARGS__);                                       \
    } while (0)

/* ---- Event loop (libuv inside; not linked into the shim) ------------------------------------- */

struct loop;
struct loop *loop_new(void);
void loop_free(struct loop *l);
void loop_run(struct loop *l);  /* returns after loop_stop() */
void loop_stop(struct loop *l); /* any thread */
/* Runs fn(arg) on the loop's thread, in the order of posting. Any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs work(arg) on a worker thread, then done(arg) on the loop's thread. For system calls that
 * block (disk, rtnetlink); never for waiting. */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* Calls fn(arg) once per timer_start(). May be freed inside its own callback. */
struct timer;
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void timer_start(struct timer *t, int64_t delay_ms); /* restarts when already running */
void timer_stop(struct timer *t);
void timer_free(struct timer *t); /* NULL is fine */

/* Watches a borrowed fd until io_free(), which must come before the fd is closed. */
enum { IO_READ = 1, IO_WRITE = 2, IO_HANGUP = 4 };
struct io;
struct io *io_new(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
                  void *arg);
void io_set(struct io *io, unsigned events); /* 0 pauses */
void io_free(struct io *io);                 /* NULL is fine; allowed inside the callback */

/* Calls fn(arg, signo) on the loop for a signal. NULL fn restores the default. */
void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

/* ---- Spawning (posix_spawn(3); the daemon never forks) --------------------------------------- */

struct spawn_fd {
    int from; /* borrowed fd of the parent */
    int to;   /* its number in the child */
};
struct spawn {
    const char *path; /* absolute; PATH is not searched */
    char *const *argv;
    char *const *envp;          /* exactly this environment; NULL: empty */
    const struct spawn_fd *fds; /* others are closed; 0, 1, 2 default to /dev/null */
    size_t n_fds;
    bool own_group; /* a process group of its own, so that all of it can be killed at once */
};
/* Starts the program; ret_pidfd is the caller's. All signals unblocked and at their defaults. */
int spawn_process(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, struct err *e) MUST_CHECK;

/* Waits on the loop for the child behind pidfd (taken), reaps it, and calls
 * fn(arg, status), status as of waitpid(2). */
void loop_on_exit(struct loop *l, int pidfd_take, void (*fn)(void *arg, int status), void *arg);

/* ---- YAML (libyaml inside; a library of its own, yaml_lib_dep) ------------------------------ */

/* One node of a document, with the place where it begins (from 1). JSON is YAML, and read too. */
enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };
struct yaml_node {
    enum yaml_kind kind;
    bool plain; /* a scalar without quotes: it may mean a number, a boolean or null */
    unsigned line, column;
    char *text;                       /* of a scalar: UTF-8 without NUL */
    const struct yaml_node **items;   /* of a sequence */
    const struct yaml_entry *entries; /* of a mapping: in order, merge keys (<<) resolved */
    size_t count;                     /* of items or entries */
    size_t weight;                    /* nodes in here, itself included, aliases written out */
    unsigned height;                  /* levels of collections in here, itself included */
};
struct yaml_entry {
    const struct yaml_node *key; /* a scalar; no two are equal */
    const struct yaml_node *value;
};

struct yaml_tree {
    const struct yaml_node **documents; /* empty ones are left out */
    size_t n_documents;
    struct yaml_node **nodes; /* all of them; an alias is one more pointer to its node */
    size_t n_nodes;
};

#define YAML_MAX_SIZE (1 << 20)
#define YAML_MAX_DEPTH 64     /* both of these with aliases written out, so that */
#define YAML_MAX_NODES 100000 /* who walks the tree needs no bound of its own */
/* Reads all documents of a text. Refuses what exceeds the limits above, equal keys, keys that are
 * no scalars, tags other than those of strings and collections, and NUL. `name` stands in errors:
 * "name:line:column: what". */
int yaml_tree_parse(const void *data, size_t len, const char *name, struct yaml_tree **ret,
                    struct err *e) MUST_CHECK;
void yaml_tree_free(struct yaml_tree *y); /* NULL is fine */
/* The value of a key; NULL when there is none or the node is no mapping (or NULL). */
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);
/* What a plain scalar without text, "~" or "null" is; false for all else. */
bool yaml_is_null(const struct yaml_node *node);
/* Sets *e to "name:line:column: what". Returns -1. */
int yaml_error(struct err *e, const char *name, const struct yaml_node *at, const char *fmt, ...)
    PRINTF(4, 5);

#endif
