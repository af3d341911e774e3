/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a fleet, as the HTTP server sees them (`pyexec serve --nats`). The server has checked who the caller is, and gives each
 * request to px_fleet.call(), which waits for the answer of a node. Another module does it (the room gateway), because this one
 * knows nothing of NATS. */
#ifndef PX_SERVE_FLEET_H
#define PX_SERVE_FLEET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/trace_context.h"

struct px_fleet_header {
    const char *name, *value; /* NULL: the header is left out */
};

/* How a request over NATS ended: a constant, and its name in metrics and spans.
 *   NOBODY     nobody listens on the subject; nothing was started
 *   NOT_SENT   no connection, or no room; nothing was started
 *   LOST       no answer, and whether something was started is not known
 *   CANCELLED  the client is gone
 *   BROKEN     as LOST, because the node's answer is not valid */
#define PX_FLEET_ENDS(END) \
    END(ANSWERED, answered) \
    END(NOBODY, no_responders) END(NOT_SENT, not_sent) END(LOST, lost) END(CANCELLED, cancelled) END(BROKEN, broken)

enum px_exchange_end {
#define PX_FLEET_END_CONSTANT(constant, name) PX_EXCHANGE_##constant,
    PX_FLEET_ENDS(PX_FLEET_END_CONSTANT) PX_EXCHANGE_END_COUNT
#undef PX_FLEET_END_CONSTANT
};

static inline const char *px_exchange_end_name(enum px_exchange_end end)
{
#define PX_FLEET_END_NAME(constant, name) #name,
    static const char *const names[] = {PX_FLEET_ENDS(PX_FLEET_END_NAME)};
#undef PX_FLEET_END_NAME
    return names[end];
}

/* A request over NATS that has ended, for its span. */
struct px_fleet_sent {
    const char *destination; /* the subject, with {session} and the like in place of ids */
    const char *node;        /* that answered, or NULL */
    size_t bytes;            /* of the body */
    int64_t begun_ns;
    int status;         /* of the answer; 0: none */
    const char *failed; /* NULL, or a name of PX_FLEET_ENDS */
};

/* Makes a span for each request over NATS of a call. The thread that waits for the call calls both. */
struct px_fleet_tracer {
    void (*begins)(struct px_fleet_tracer *tracer, char traceparent[PX_TRACEPARENT_SIZE]);
    void (*ended)(struct px_fleet_tracer *tracer, const struct px_fleet_sent *sent);
};

struct px_fleet_call {
    const char *method;
    const char *target;          /* the path with its query, still encoded */
    const char *route;           /* the name of its route (struct px_route) */
    const char *principal;       /* who asks */
    const char *session, *named; /* from the path, or NULL */
    const struct px_fleet_header *headers;
    size_t header_count;
    const char *body;
    size_t length;
    bool events; /* the client takes events */
    /* An event of the answer. `id` is NULL for none. */
    void (*event)(void *closure, const char *name, const char *id, const char *data, size_t length);
    /* False while the client must read before it gets more. NULL: always true. */
    bool (*may_send)(void *closure);
    void *closure;
    struct px_fleet_tracer *tracer; /* NULL: the call is not traced */
    /* Of px_fleet_cancel(). */
    atomic_bool cancelled;
    _Atomic long waits_at; /* 0: nowhere */
};

struct px_fleet_answer {
    int status;
    struct px_buffer headers; /* NAME, VALUE, each ended by a NUL */
    struct px_buffer body;
};

struct px_fleet_counts {
    uint64_t ends[PX_EXCHANGE_END_COUNT], waiting; /* waiting: in progress */
    uint64_t reconnects;
};

/* A line of the server's log. `detail` may be NULL. */
typedef void (*px_fleet_log_fn)(void *closure, const char *event, const char *detail);

struct px_fleet {
    /* Waits for the answer. There always is one, which may be a problem. */
    void (*call)(struct px_fleet *fleet, struct px_fleet_call *call, struct px_fleet_answer *ret);
    /* Wakes the thread that waits in call(). */
    void (*wake)(struct px_fleet *fleet, const struct px_fleet_call *call);
    bool (*is_connected)(struct px_fleet *fleet);
    void (*count)(struct px_fleet *fleet, struct px_fleet_counts *ret);
    /* Where to report the connection. NULL: to standard error, as in the beginning. Afterwards the function before is not called. */
    void (*log_to)(struct px_fleet *fleet, px_fleet_log_fn log, void *closure);
    void (*close)(struct px_fleet *fleet);
};

/* The client does not wait for the answer any more. */
static inline void px_fleet_cancel(struct px_fleet *fleet, struct px_fleet_call *call)
{
    call->cancelled = true;
    fleet->wake(fleet, call);
}

static inline void px_fleet_answer_done(struct px_fleet_answer *answer)
{
    px_buffer_done(&answer->headers);
    px_buffer_done(&answer->body);
}

#endif
