/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "bench/bench.h"

static int add(double **items, size_t *count, double value, pyexec_error *error)
{
    /* At 0 and at powers of two the list is full: double it. */
    if (!(*count & (*count - 1)) || !*count) {
        double *larger = reallocarray(*items, *count ? *count * 2 : 1, sizeof **items);
        if (!larger)
            return px_error_oom(error);
        *items = larger;
    }
    (*items)[(*count)++] = value;
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percentile(const double *items, size_t count, double percent)
{
    px_auto_free double *sorted = count ? calloc(count, sizeof *sorted) : NULL;
    if (!sorted)
        return 0;
    memcpy(sorted, items, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    return sorted[rank ? rank - 1 : 0];
}

int bench_samples_add(struct bench_samples *samples, double us, pyexec_error *error)
{
    return add(&samples->us, &samples->count, us, error);
}

int bench_samples_end_round(struct bench_samples *samples, size_t from, pyexec_error *error)
{
    double p50 = bench_percentile(samples->us + from, samples->count - from, 50);
    return add(&samples->round_p50, &samples->rounds, p50, error);
}

void bench_samples_summarise(struct bench_samples *samples)
{
    samples->p50 = bench_percentile(samples->us, samples->count, 50);
    samples->p90 = bench_percentile(samples->us, samples->count, 90);
    samples->p99 = bench_percentile(samples->us, samples->count, 99);
}

void bench_samples_done(struct bench_samples *samples)
{
    free(samples->us);
    free(samples->round_p50);
}

double bench_ratio(const struct bench_samples *a, const struct bench_samples *b)
{
    size_t rounds = a->rounds < b->rounds ? a->rounds : b->rounds;
    px_auto_free double *ratios = rounds ? calloc(rounds, sizeof *ratios) : NULL;
    if (!ratios)
        return 0;
    for (size_t i = 0; i < rounds; i++) {
        if (!(b->round_p50[i] > 0))
            return 0;
        ratios[i] = a->round_p50[i] / b->round_p50[i];
    }
    return bench_percentile(ratios, rounds, 50);
}
