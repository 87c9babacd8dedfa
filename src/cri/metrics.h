/*
 * metrics.h - the metrics of containers and pods as a table: names, labels, and where each value
 * comes from.
 *
 * The names, units and labels are those that a kubelet's /metrics/cadvisor has always shown, so
 * that dashboards go on working. All values are whole numbers; seconds are rounded down.
 */
#ifndef CRI_METRICS_H
#define CRI_METRICS_H

#include "sample.h"

/* Of whom a value is told. */
enum metric_level { METRIC_CONTAINER, METRIC_POD };

/* Everything that values of one container, or of one pod, are taken from. */
struct metric_source {
    const struct container_sample *container; /* METRIC_CONTAINER */
    const struct sandbox_sample *sandbox;     /* METRIC_POD */
    const struct tree_size *layer;            /* NULL: not known */
    uint64_t started_s, now_s;
    struct disk_usage { /* of the file system that holds writable layers */
        char device[64];
        uint64_t bytes, inodes, inodes_free;
    } disk;
};

/* Collects the values of one row. */
struct metric_sink;
/* `labels` are those that only this metric has, in the row's order. */
void metric_tell(struct metric_sink *sink, uint64_t value, const char *const *labels);

struct metric_row {
    const char *name, *help;
    bool counter; /* else a gauge */
    enum metric_level level;
    const char *labels[4]; /* besides the common ones; ends with NULL */
    /* Does this machine have it? NULL: always. */
    bool (*is_offered)(void);
    void (*tell)(const struct metric_source *source, struct metric_sink *sink);
};

extern const struct metric_row metric_rows[];
extern const size_t n_metric_rows;
bool metric_is_offered(const struct metric_row *row);

#endif
