/* SPDX-License-Identifier: Apache-2.0 */
/* A table of the tool calls that wait for a client's answer. Calls are found by their ids. A call belongs to the principal whose
 * execution made it; no other principal can find it.
 *
 *   px_calls_add()     a script has made a call, and waits: adds it to the table
 *   px_calls_find()    a client answers: gets the call with a reference; px_call_settle() then stores the kind of answer
 *   px_calls_drop()    the execution has ended: removes its calls
 *
 * When a script no longer waits for a call, the call stays in the table, and is not shown, until the execution makes another
 * call or ends. */
#ifndef PX_SERVE_CALLS_H
#define PX_SERVE_CALLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/buffer.h"
#include "pyexec.h"
#include "serve/metrics.h"

struct px_calls;
struct px_execution;
struct px_principal;

enum px_call_answer {
    PX_CALL_UNANSWERED,
    PX_CALL_RESULT,
    PX_CALL_ERROR,
    PX_CALL_DENIED,
    PX_CALL_ALLOWED,
    PX_CALL_ANSWERS
};

struct px_client_call {
    struct px_client_call *next_of_bucket;
    struct px_client_call *next; /* next call of its execution; the newest is first */
    struct px_calls *calls;
    struct px_execution *execution;
    pyexec_tool_call *handle;
    unsigned references;
    bool listed; /* it is in the table, so it can be found */
    bool held;   /* it waits for approval */
    enum px_call_answer answer;
    int64_t since_ns, settled_ns;
    time_t since; /* the time of day when the call was made */
};

/* Returns NULL when there is no memory. */
struct px_calls *px_calls_new(void);
/* All calls must have been removed before. */
void px_calls_free(struct px_calls *calls);

/* Takes ownership of the handle. `held`: it waits for approval. Returns NULL when there is no memory; then the script
 * gets an error. The caller gets no reference: the call may be freed at any time. */
struct px_client_call *px_calls_add(struct px_calls *calls, struct px_execution *execution, pyexec_tool_call *handle,
                                    bool held);

/* Returns the call of this id with a reference for px_call_release(). NULL when there is none or it belongs to
 * another principal. */
struct px_client_call *px_calls_find(struct px_calls *calls, const struct px_principal *principal, const char *id);

/* Removes the call from the table. */
void px_call_unlist(struct px_client_call *call);

/* Stores the kind of the answer that the call has got, and removes the call from the table. */
void px_call_settle(struct px_client_call *call, enum px_call_answer answer);
void px_call_release(struct px_client_call *call);

/* Removes the calls of an execution. The execution must not add more calls. */
void px_calls_drop(struct px_calls *calls, struct px_execution *execution);

/* Appends the id, the name and the arguments of a call, as members of a JSON object without its braces. */
void px_call_write(struct px_buffer *out, const pyexec_tool_call *handle);

/* px_calls_any() returns true if a call of the execution waits. px_calls_write() appends all calls that wait, as JSON objects
 * with commas between them. Without `whole` their arguments are null. */
bool px_calls_any(struct px_calls *calls, const struct px_execution *execution);
void px_calls_write(struct px_calls *calls, const struct px_execution *execution, struct px_buffer *out, bool whole);

/* Appends the principal's executions that are not detached and have calls that wait, as JSON objects with
 * commas between them. After `most` bytes in `out`, arguments are written as null. */
void px_calls_write_attached(struct px_calls *calls, const struct px_principal *principal, struct px_buffer *out,
                             size_t most);

/* For the metrics. */
struct px_call_counts {
    uint64_t answers[PX_CALL_ANSWERS];
    size_t waiting, held;
};
void px_calls_count(struct px_calls *calls, struct px_call_counts *ret);
struct px_histogram *px_calls_waits(struct px_calls *calls);
extern const char *const px_call_answer_names[PX_CALL_ANSWERS];

#endif
