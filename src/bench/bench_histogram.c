/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_histogram.h"

#define STEPS (INT64_C(1) << BENCH_HISTOGRAM_BITS)

/* Times below 128 ns have a bucket each. Of a longer time the first eight bits choose the bucket. */
static size_t bucket_of(int64_t ns)
{
    if (ns < STEPS)
        return ns < 0 ? 0 : (size_t)ns;
    int exponent = 63 - __builtin_clzll((uint64_t)ns);
    if (exponent >= BENCH_HISTOGRAM_TOP)
        return BENCH_HISTOGRAM_BUCKETS - 1;
    int shift = exponent - BENCH_HISTOGRAM_BITS;
    return ((size_t)(shift + 1) << BENCH_HISTOGRAM_BITS) + (size_t)((ns >> shift) - STEPS);
}

/* The longest time of a bucket. */
static int64_t end_of(size_t bucket)
{
    int64_t step = (int64_t)(bucket & (STEPS - 1)), shift = (int64_t)(bucket >> BENCH_HISTOGRAM_BITS) - 1;
    return shift < 0 ? step : ((STEPS + step + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *histogram, int64_t ns)
{
    histogram->buckets[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

int64_t bench_histogram_percentile(const struct bench_histogram *histogram, double percent)
{
    /* Rounded up; ceil(3) would need the mathematical library, which the unit test is not linked with. */
    double exact = percent / 100 * (double)histogram->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact;
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS && histogram->count; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank && seen) {
            /* The last bucket has no end. */
            int64_t end = i == BENCH_HISTOGRAM_BUCKETS - 1 ? histogram->max_ns : end_of(i);
            return end < histogram->max_ns ? end : histogram->max_ns;
        }
    }
    return 0;
}

uint64_t bench_histogram_below(const struct bench_histogram *histogram, int exponent)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bucket_of(INT64_C(1) << exponent); i++)
        count += histogram->buckets[i];
    return count;
}
