/* SPDX-License-Identifier: Apache-2.0 */
/* What `pyexec batch` says on standard error: a bar on a terminal, otherwise a line every 10 seconds. */
#ifndef PX_BATCH_BATCH_PROGRESS_H
#define PX_BATCH_BATCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "batch/batch_work.h"

struct batch_progress {
    bool quiet, terminal;
    int64_t began_ns, shown_ns;
    uint64_t shown; /* tasks that had ended then */
    bool drawn;     /* the bar is on the screen */
};

void batch_progress_init(struct batch_progress *progress, bool quiet);
/* How long to wait for the next call of batch_progress_show(). */
int batch_progress_wait_ms(const struct batch_progress *progress);
void batch_progress_show(struct batch_progress *progress, const struct batch_counts *counts);
/* Says a line in place of the bar, also with `quiet` if it must be said. */
void batch_progress_say(struct batch_progress *progress, bool must, const char *message, const char *hint);
void batch_progress_summary(struct batch_progress *progress, const struct batch_counts *counts, const char *dead_path);

#endif
