/* SPDX-License-Identifier: Apache-2.0 */
/* `pyexec bench --half-load SECONDS`: the latency at half of the greatest rate that this machine sustains.
 *
 * The load is open: calls arrive at planned times, whether or not earlier ones have ended. A latency begins at the
 * planned time. So a stall delays all calls that arrive during it, and the figures show it for each of them. A loop
 * that makes one call after another would show it once ("coordinated omission"). The pauses between calls are
 * random (a Poisson process), because users do not know of each other. So some calls arrive close together; with
 * equal pauses none would. */
#ifndef PX_BENCH_BENCH_HALF_LOAD_H
#define PX_BENCH_BENCH_HALF_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "bench/bench.h"
#include "bench/bench_histogram.h"

enum bench_call_kind { BENCH_CALL_RUN, BENCH_CALL_SESSION, BENCH_CALL_KINDS };

struct bench_half_load_kind {
    double saturation; /* calls per second, one after another on some threads */
    double rate;       /* planned arrivals per second: half of it */
    uint64_t planned;
    struct bench_histogram latency; /* from the planned time to the end; its count is the calls made */
    struct bench_histogram
        late; /* from the planned time to the start of the call: the caller's wake-up, or its last call */
    struct bench_histogram call; /* from the start of the call to its end */
};

struct bench_half_load {
    int seconds, callers;
    char *python;
    struct bench_half_load_kind kinds[BENCH_CALL_KINDS];
};

/* Measures runs from the pool for `seconds` seconds, and then calls of sessions. */
int bench_half_load_run(struct bench_half_load *ret, int seconds, const struct bench_plan *plan,
                        const struct cli_settings *settings, pyexec_error *error);
void bench_half_load_done(struct bench_half_load *half_load);

void bench_half_load_add_table(struct px_buffer *out, const struct bench_half_load *half_load);
void bench_half_load_add_json(struct px_buffer *out, const struct bench_half_load *half_load);

#endif
