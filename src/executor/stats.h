/* SPDX-License-Identifier: Apache-2.0 */
/* Counts results, for pyexec_stats(). */
#ifndef PX_EXECUTOR_STATS_H
#define PX_EXECUTOR_STATS_H

#include "runner/counters.h"

/* Counts an execution that has ended. */
void px_count_result(struct px_counters *counters, const pyexec_result *result);

#endif
