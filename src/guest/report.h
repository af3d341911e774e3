/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the script: gathered first, sent at the end. Between the first byte of the
 * result that is sent and the last no code of the script runs, so that nothing it does, traps
 * included, can get into the middle of it. */
#ifndef PX_GUEST_REPORT_H
#define PX_GUEST_REPORT_H

#include "guest/script.h"
#include "guest/traceback/source.h"

struct px_report {
    enum px_outcome outcome;
    int exit_code;
    bool has_value, value_truncated;
    struct px_buffer value, value_json, value_json_error;
    bool has_error;
    int line; /* 0: unknown */
    struct px_buffer type, message, suggestion, advice, traceback;
    struct px_buffer printed; /* for descriptor 2 */
};
void px_report_done(struct px_report *report);

/* Zygote: also sets aside the memory that reporting a MemoryError needs. 0, or -1 with a
 * Python exception set. */
int px_report_prepare(void);

/* The last value's repr, bounded. 0, or -1 with the exception that its __repr__ raised. */
int px_report_value(struct px_report *report, const struct px_script *run, PyObject *value);

/* Takes the pending exception and clears it. `compiling`: it came from compiling code of modest
 * size, when a MemoryError only says that the code is nested too deeply. */
void px_report_exception(struct px_report *report, const struct px_script *run, struct px_source *sources,
                         bool compiling);

/* Sends all of it, DONE included. 0, or -1 when the host is gone. */
int px_report_send(const struct px_report *report, const struct px_script *run);

#endif
