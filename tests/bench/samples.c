/*
 * samples.c - keeps every duration, so that quantiles are exact.
 */
#include "samples.h"

#include <stdlib.h>

void durations_add(struct durations *d, int64_t since_ns)
{
    *(double *)array_push(&d->ms, &d->n, sizeof(*d->ms)) =
        (double)(time_mono_ns() - since_ns) / NS_PER_MS;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double durations_at(struct durations *d, double share)
{
    if (d->n == 0)
        return 0;
    qsort(d->ms, d->n, sizeof(*d->ms), compare_double);
    size_t i = (size_t)(share * (double)d->n);
    return d->ms[i < d->n ? i : d->n - 1];
}

void durations_free(struct durations *d)
{
    free(d->ms);
    *d = (struct durations){0};
}
