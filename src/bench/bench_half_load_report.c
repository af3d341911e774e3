/* SPDX-License-Identifier: Apache-2.0 */
/* The output of `pyexec bench --half-load`. */
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "bench/bench.h"
#include "bench/bench_half_load.h"
#include "cli/print.h"

#define P99_GOAL 3.0 /* of a run from the pool, in multiples of its p50 */

static const struct {
    const char *key, *title;
} kind_names[BENCH_CALL_KINDS] = {
    [BENCH_CALL_RUN] = {"pooled_runs", "execute_once of 1+1, pooled"},
    [BENCH_CALL_SESSION] = {"session_calls", "execute of 1+1 in sessions"},
};

static const struct {
    const char *key;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99_9", 99.9}};

static double percentile_us(const struct bench_histogram *histogram, double percent)
{
    return (double)bench_histogram_percentile(histogram, percent) / 1000;
}

static double p99_to_p50(const struct bench_half_load *half_load)
{
    const struct bench_histogram *latency = &half_load->kinds[BENCH_CALL_RUN].latency;
    double p50 = percentile_us(latency, 50);
    return p50 > 0 ? percentile_us(latency, 99) / p50 : 0;
}

static void add_line(struct px_buffer *out, const char *title, const struct bench_histogram *histogram)
{
    px_buffer_printf(out, "%-42s", title);
    for (size_t i = 0; i < PX_COUNT(percentiles); i++)
        px_buffer_printf(out, "%10.0f", percentile_us(histogram, percentiles[i].percent));
    px_buffer_printf(out, "%10.0f\n", (double)histogram->max_ns / 1000);
}

void bench_half_load_add_table(struct px_buffer *out, const struct bench_half_load *half_load)
{
    px_buffer_printf(out, "half of the sustained rate for %d s each; Poisson arrivals of %d callers\n",
                     half_load->seconds, half_load->callers);
    px_buffer_printf(out, "%-42s%10s%10s%10s%10s%10s\n", "microseconds", "p50", "p90", "p99", "p99.9", "max");
    for (enum bench_call_kind i = 0; i < BENCH_CALL_KINDS; i++) {
        const struct bench_half_load_kind *kind = &half_load->kinds[i];
        px_buffer_printf(out, "\n%s: %.0f per second of %.0f, %llu calls\n", kind_names[i].title, kind->rate,
                         kind->saturation, (unsigned long long)kind->latency.count);
        add_line(out, "from the planned arrival to the end", &kind->latency);
        add_line(out, "of this, until the call began", &kind->late);
        add_line(out, "of this, the call itself", &kind->call);
        if (kind->latency.count < kind->planned)
            px_buffer_printf(out, "%llu planned calls were not made: 10 s after the end they had not begun\n",
                             (unsigned long long)(kind->planned - kind->latency.count));
    }
    double ratio = p99_to_p50(half_load);
    px_buffer_printf(out, "\n%-42s%10.2f  <= %-8g%s\n", "pooled: p99 / p50", ratio, P99_GOAL,
                     ratio <= P99_GOAL ? "met" : "missed");
}

static json_t *percentiles_json(const struct bench_histogram *histogram)
{
    json_t *object = json_object();
    for (size_t i = 0; i < PX_COUNT(percentiles); i++)
        px_json_set(object, percentiles[i].key, json_real(percentile_us(histogram, percentiles[i].percent)));
    px_json_set(object, "max", json_real((double)histogram->max_ns / 1000));
    return object;
}

/* [microseconds, calls that took less] for each power of two of nanoseconds, from the first call to the last. */
static json_t *doublings_json(const struct bench_histogram *histogram)
{
    json_t *list = json_array();
    for (int exponent = 0; exponent < BENCH_HISTOGRAM_TOP; exponent++) {
        uint64_t below = bench_histogram_below(histogram, exponent);
        if (below)
            px_json_append(list, json_pack("[f, I]", (double)(INT64_C(1) << exponent) / 1000, (json_int_t)below));
        if (below == histogram->count)
            break;
    }
    return list;
}

static json_t *kind_json(const struct bench_half_load_kind *kind)
{
    return json_pack("{s:f, s:f, s:I, s:I, s:o, s:o, s:o, s:o}", "saturation_per_second", kind->saturation,
                     "rate_per_second", kind->rate, "planned", (json_int_t)kind->planned, "made",
                     (json_int_t)kind->latency.count, "latency_us", percentiles_json(&kind->latency), "late_us",
                     percentiles_json(&kind->late), "call_us", percentiles_json(&kind->call), "latency_below_us",
                     doublings_json(&kind->latency));
}

void bench_half_load_add_json(struct px_buffer *out, const struct bench_half_load *half_load)
{
    struct utsname system = {0};
    uname(&system);
    double ratio = p99_to_p50(half_load);
    json_t *object = json_pack(
        "{s:s, s:{s:s, s:I, s:s}, s:i, s:s, s:i, s:[{s:s, s:f, s:f, s:b}]}", "version", pyexec_version(), "machine",
        "kernel", system.release, "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "python", half_load->python,
        "seconds", half_load->seconds, "arrivals", "poisson", "callers", half_load->callers, "goals", "name",
        "pooled_runs_p99_to_p50", "at_most", P99_GOAL, "figure", ratio, "met", ratio <= P99_GOAL);
    for (enum bench_call_kind i = 0; object && i < BENCH_CALL_KINDS; i++)
        px_json_set(object, kind_names[i].key, kind_json(&half_load->kinds[i]));
    bench_add_object(out, object);
}
