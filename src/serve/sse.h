/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events of a run: stdout and stderr when they are written, then the result or the error. */
#ifndef PX_SERVE_SSE_H
#define PX_SERVE_SSE_H

#include <stdbool.h>

#include "pyexec.h"

struct px_http_request;
struct px_sse;
struct px_buffer;

/* True if the client accepts events. */
bool px_sse_wanted(const struct px_http_request *request);

/* Begins the answer: 200, text/event-stream. Returns -1 when there is no memory. */
int px_sse_begin(struct px_http_request *request);
/* Begins the answer in the form of E2B's server: one JSON object on each line. The callers put the `type` into the
 * object; the event names below are not sent. */
int px_sse_begin_lines(struct px_http_request *request);
/* Begins an answer of another form, whose bytes the callers give to px_sse_add(). `silence` is sent when nothing
 * else is, to show that the run continues; it must stay valid longer than the request. */
int px_sse_begin_bytes(struct px_http_request *request, const char *type, const char *silence, size_t silence_length);
void px_sse_add(struct px_http_request *request, const struct px_buffer *bytes, bool last);

/* A pyexec_display_fn and a pyexec_output_fn. Their closure is the request. */
int px_sse_display(void *request, const char *json, size_t length);
int px_sse_output(void *request, int stream, const char *bytes, size_t length);

/* Sends an event; `json` is its data. Never waits for the client. */
void px_sse_send(struct px_http_request *request, const char *event, const char *json);

/* Sends the last event; `json` is its data. */
void px_sse_end(struct px_http_request *request, const char *event, const char *json);

/* Called about once a second: a comment shows proxies that the connection is alive. */
void px_sse_tick(struct px_http_request *request, int64_t now_ns);

void px_sse_free(struct px_sse *stream);

#endif
