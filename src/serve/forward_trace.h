/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a gateway: of an HTTP request that runs code, and of each request over NATS below it. */
#ifndef PX_SERVE_FORWARD_TRACE_H
#define PX_SERVE_FORWARD_TRACE_H

#include "serve/fleet.h"
#include "serve/http.h"
#include "telemetry/telemetry.h"

struct px_forward_trace {
    struct px_fleet_tracer tracer; /* must be the first member */
    struct px_http_request *request;
    struct px_trace_context own; /* of the HTTP request's span */
    char parent[17];             /* the caller's span, or "" */
    char sent[17];               /* of the request over NATS in progress */
    char tracestate[PX_TRACESTATE_MAX + 1];
    bool recorded;
    struct px_span_text spans;
};

/* Makes the call traced, if the server sends traces and the request runs code. */
void px_forward_trace_begin(struct px_forward_trace *trace, struct px_http_request *request,
                            struct px_fleet_call *call);
/* The call has its answer. Does nothing if it is not traced. */
void px_forward_trace_end(struct px_forward_trace *trace, int status);

#endif
