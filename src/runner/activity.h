/* SPDX-License-Identifier: Apache-2.0 */
/* Tells whether a run's process waits: it sleeps, or waits for input or an answer. Only the kernel is asked,
 * never the process: for its CPU time and the states of its threads. */
#ifndef PX_RUNNER_ACTIVITY_H
#define PX_RUNNER_ACTIVITY_H

#include <stdbool.h>
#include <stdint.h>

#include "runner/child.h"

struct px_activity {
    const struct px_child *child; /* NULL: nothing is measured, and the process counts as busy */
    int64_t measured_ns, cpu_ns;  /* time of the last measurement, and the CPU time used by then */
    bool waits;                   /* the result of that measurement */
};

/* From now on this child is measured. `cpu_ns` is its CPU time, or -1. It must not be freed before
 * px_activity_end(). */
void px_activity_begin(struct px_activity *activity, const struct px_child *child, int64_t cpu_ns);
void px_activity_end(struct px_activity *activity);

/* True if the child used less than 1 % of one CPU since the last measurement. When that measurement was made, the host
 * must also have read all output of the child, and no thread of the child may have been ready to run: such a thread
 * wants the CPU, and other processes have it. Measures again if the last measurement is `window_ns` or more ago;
 * otherwise repeats its answer. False too if /proc does not show the child. Not thread-safe. */
bool px_activity_waits(struct px_activity *activity, int64_t window_ns);

#endif
