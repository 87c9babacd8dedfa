/*
 * samples.h - durations, and what can be said about them.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include "podd/base.h"

struct durations {
    double *ms;
    size_t n;
};
void durations_add(struct durations *d, int64_t since_ns); /* from then until now */
/* The value that this share (0 to 1) of the samples does not exceed; 0 without samples. Sorts. */
double durations_at(struct durations *d, double share);
void durations_free(struct durations *d);

#endif
