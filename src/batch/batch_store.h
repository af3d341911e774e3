/* SPDX-License-Identifier: Apache-2.0 */
/* What `pyexec batch` writes, and reads again when it continues. For the output results.jsonl:
 *
 *   results.jsonl       {"id", "line", "result"} for each task that ran
 *   results.dead.jsonl  {"id", "line", "reason", "may_have_run", …} for each task without a result
 *   results.state       the journal. Its lines: "pyexec-batch 1"; "@ SECONDS HEX" when a command began, with its own random number;
 *                       HASH before a task starts; -HASH when it is certain that it did not start
 *
 * A line is complete when its newline is there. So after a kill at any moment, the three files say of each task whether it has a
 * result, was not started, or may have run. */
#ifndef PX_BATCH_BATCH_STORE_H
#define PX_BATCH_BATCH_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "batch/batch_ids.h"
#include "batch/batch_task.h"
#include "pyexec.h"

#define BATCH_NUMBER_HEX 32

enum batch_file { BATCH_STATE, BATCH_RESULTS, BATCH_DEAD, BATCH_FILES };

/* A time in which a command ran. */
struct batch_epoch {
    int64_t began_s;
    char number[BATCH_NUMBER_HEX + 1];
};

struct batch_store {
    char *paths[BATCH_FILES];
    int fds[BATCH_FILES]; /* -1: not open; the dead letters are opened by the first one */
    off_t ends[BATCH_FILES];
    /* The file ends with half a line that could not be cut off: write nothing after it. */
    bool broken[BATCH_FILES];
    off_t reserved; /* the end of the space that the file of results has */
    struct batch_ids
        ids; /* of all tasks. number: their line; 0: not seen yet. settled: with a result or a dead letter */
    struct batch_ids open;      /* those that were started. number: their epoch. settled: their end is known */
    struct batch_epoch *epochs; /* the last is the one of this command */
    size_t epoch_count;
    uint64_t dead_before, cut; /* found; cut: files whose last line was cut off */
};

/* Opens the files, and locks them. `retry_lost`: also tasks that may have run are run again. */
int batch_store_open(struct batch_store *ret, const char *output, bool retry_lost, pyexec_error *error);
void batch_store_close(struct batch_store *store);

/* Returns the epoch in which the task was started, or NULL: it was not started, or it is known how it ended. */
const struct batch_epoch *batch_store_started(const struct batch_store *store, const struct batch_task *task);

/* These return 0, or -1 with `error`: then nothing of it is in the file, or only a part of a line, after which nothing else is written to
 * this file. The next command cuts it off. */
int batch_store_start(struct batch_store *store, const struct batch_task *task, pyexec_error *error);
int batch_store_give_back(struct batch_store *store, const struct batch_task *task, pyexec_error *error);
int batch_store_result(struct batch_store *store, const struct batch_task *task, const char *result, size_t length,
                       pyexec_error *error);

/* Why a task has no result. */
struct batch_dead {
    const char *reason; /* "invalid", "refused", "failed", "cancelled", "lost" */
    bool may_have_run;
    const char *code, *message, *hint;
};
int batch_store_dead(struct batch_store *store, const struct batch_task *task, const struct batch_dead *dead,
                     pyexec_error *error);

#endif
