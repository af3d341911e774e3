/* SPDX-License-Identifier: Apache-2.0 */
/* A task of `pyexec batch`: a line of the file, which is the body of POST /v1/execute with an id. */
#ifndef PX_BATCH_BATCH_TASK_H
#define PX_BATCH_BATCH_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "batch/batch_ids.h"
#include "batch/batch_lines.h"
#include "pyexec.h"

#define BATCH_LINE_MAX ((size_t)32 << 20) /* as much as a server takes */
#define BATCH_ID_MAX 1024                 /* bytes of an id */

struct batch_task {
    uint64_t line;
    json_t *id; /* a string or an integer */
    struct batch_hash hash;
    json_t *body;       /* without the id; NULL: the line is no task, and `error` says why */
    pyexec_error error; /* of code PYEXEC_INVALID_REQUEST */
};

/* Reads the line. Returns 1 with a task, which may be invalid; 0 if the line is empty; -1: no memory. */
int batch_task_read(struct batch_task *ret, const struct batch_line *line);
void batch_task_done(struct batch_task *task);

/* The hash of an id: of its text, so 7 and "7" are the same id. Returns false if the value can't be an id. */
bool batch_task_id_hash(const json_t *id, struct batch_hash *ret);

#endif
