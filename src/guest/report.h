/* SPDX-License-Identifier: Apache-2.0 */
/* The outcome of the script: collected first, sent at the end. No code of the script runs between the first byte
 * of the result and the last one, so nothing that it does, traps included, can put bytes into the result. */
#ifndef PX_GUEST_REPORT_H
#define PX_GUEST_REPORT_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* The members of child_fields.def are sent. The other members decide which of them are sent. */
struct px_report {
#define PX_CHILD_NUMBER(NAME, wire, type, member, ...) type member;
#define PX_CHILD_TEXT(NAME, member, ...) struct px_buffer member;
#include "protocol/child_fields.def"
    bool has_value, has_error;
    struct px_buffer printed; /* text to write to descriptor 2 */
};
void px_report_done(struct px_report *report);

/* Called in the zygote: also reserves the memory that reporting a MemoryError needs. Returns 0, or -1 with a
 * Python exception set. */
int px_report_prepare(void);

/* Takes the repr of the last value, up to the limit. Returns 0, or -1 with the exception that its __repr__ raised. */
int px_report_value(struct px_report *report, const struct px_script *run, PyObject *value);

/* Takes the pending exception and clears it. `compiling` is true if compiling code of modest size raised it: then
 * a MemoryError only means that the code is nested too deeply. */
void px_report_exception(struct px_report *report, const struct px_script *run, struct px_source *sources,
                         bool compiling);

/* Sends the whole result, up to DONE. Returns 0, or -1 when the host is gone. */
int px_report_send(struct px_report *report, const struct px_script *run);

#endif
