/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls of scripts that wait for a client's answer, found by their ids. A call belongs to the principal whose
 * execution made it; nobody else finds it.
 *
 *   px_calls_add()     the script waits: the call can be found
 *   px_calls_find()    somebody answers: it holds the call meanwhile, and says how it answered with px_call_settle()
 *   px_calls_drop()    the execution has ended
 *
 * A call that its script gave up stays, unseen, until the next call of the execution or its end. */
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
    bool listed; /* in the table, so it can be found */
    bool held;   /* until it is allowed or denied */
    enum px_call_answer answer;
    int64_t since_ns, settled_ns;
    time_t since; /* time for people */
};

/* Returns NULL when there is no memory. */
struct px_calls *px_calls_new(void);
/* No calls may be left. */
void px_calls_free(struct px_calls *calls);

/* Takes ownership of the handle. `held`: it waits for approval. Returns NULL when there is no memory; then the script
 * gets an error. The caller gets no reference: the call may be freed at any time. */
struct px_client_call *px_calls_add(struct px_calls *calls, struct px_execution *execution, pyexec_tool_call *handle,
                                    bool held);

/* Returns the call of this id with a reference for px_call_release(). NULL when there is none or it belongs to
 * another principal. */
struct px_client_call *px_calls_find(struct px_calls *calls, const struct px_principal *principal, const char *id);

/* From now on the call is not found. */
void px_call_unlist(struct px_client_call *call);

/* The call has got its answer, so it is not found any more. */
void px_call_settle(struct px_client_call *call, enum px_call_answer answer);
void px_call_release(struct px_client_call *call);

/* Drops the calls of an execution, which adds no more calls. */
void px_calls_drop(struct px_calls *calls, struct px_execution *execution);

/* Appends the members of a call that a client sees, without braces: its id, name and arguments. */
void px_call_write(struct px_buffer *out, const pyexec_tool_call *handle);

/* The first is true if any call of the execution waits. The second appends all of them as objects of a list, with
 * `whole` also their arguments. */
bool px_calls_any(struct px_calls *calls, const struct px_execution *execution);
void px_calls_write(struct px_calls *calls, const struct px_execution *execution, struct px_buffer *out, bool whole);

/* Appends the principal's executions that are not detached and have calls that wait, as objects of a list. When `out` has
 * grown to `most` bytes, further arguments are left out. */
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
