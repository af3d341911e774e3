/* SPDX-License-Identifier: Apache-2.0 */
/* Times in a fixed amount of memory: each doubling of the time has 128 buckets, so a percentile is at most 0.8 % too
 * long, and never too short. */
#ifndef PX_BENCH_BENCH_HISTOGRAM_H
#define PX_BENCH_BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_HISTOGRAM_BITS 7 /* 128 buckets for each doubling */
#define BENCH_HISTOGRAM_TOP 42 /* times of 2^42 ns (73 minutes) or more share the last bucket */
#define BENCH_HISTOGRAM_BUCKETS ((BENCH_HISTOGRAM_TOP - BENCH_HISTOGRAM_BITS + 1) << BENCH_HISTOGRAM_BITS)

/* {0} is an empty one. */
struct bench_histogram {
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
    uint64_t count;
    int64_t max_ns;
};

/* A negative time counts as 0. */
void bench_histogram_add(struct bench_histogram *histogram, int64_t ns);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);

/* Returns the percentile by the nearest-rank method in nanoseconds; 0 when the histogram is empty. */
int64_t bench_histogram_percentile(const struct bench_histogram *histogram, double percent);

/* Returns how many times are shorter than 2^exponent ns. */
uint64_t bench_histogram_below(const struct bench_histogram *histogram, int exponent);

#endif
