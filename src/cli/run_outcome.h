/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended, in the form in which `pyexec run` prints it: from a result of this process, or from the JSON of a
 * server. */
#ifndef PX_CLI_RUN_OUTCOME_H
#define PX_CLI_RUN_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "pyexec.h"

struct run_file {
    const char *path, *change;
    const char *content; /* NULL: not returned */
    size_t length;
};

struct run_display_form {
    const char *type; /* MIME */
    const char *data;
    size_t length;
};

struct run_shown { /* a display */
    struct run_display_form *forms;
    size_t count;
};

struct run_outcome {
    pyexec_status status;
    int exit_code;
    bool truncated[2], value_truncated, files_truncated;
    uint64_t stream_bytes[2];
    const char *value, *value_json, *value_json_error; /* texts are NULL when there are none */
    const char *message, *hint, *traceback;
    struct run_file *files;
    size_t file_count;
    struct run_shown *displays;
    size_t display_count;
    const char *json; /* the whole result */
    /* What the members above point into, besides the result. */
    json_t *object;
    struct px_buffer value_text, *parts;
    size_t part_count;
};

/* Both return 0, or -1 with `error`. The outcome is zeroed by the caller, and done in every case. The first points into the
 * result, the second into the text. */
int run_outcome_of_result(struct run_outcome *ret, const pyexec_result *result, pyexec_error *error);
int run_outcome_of_json(struct run_outcome *ret, const char *text, size_t length, pyexec_error *error);
void run_outcome_done(struct run_outcome *outcome);

#endif
