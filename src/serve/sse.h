/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events of a run: stdout and stderr as they come, then the result or the error. */
#ifndef PX_SERVE_SSE_H
#define PX_SERVE_SSE_H

#include <stdbool.h>

#include "pyexec.h"

struct px_http_request;
struct px_sse;
struct px_buffer;

/* Whether the client takes events. */
bool px_sse_wanted(const struct px_http_request *request);

/* Begins the answer: 200, text/event-stream. -1: out of memory. */
int px_sse_begin(struct px_http_request *request);
/* The same as E2B's server does: a JSON object a line, of which the callers give the `type`; the names
 * of events below are not sent. */
int px_sse_begin_lines(struct px_http_request *request);
/* The same for a body of another form, of which the callers give the bytes with px_sse_add(). `silence` says that
 * it goes on, and outlives the request. */
int px_sse_begin_bytes(struct px_http_request *request, const char *type, const char *silence, size_t silence_length);
void px_sse_add(struct px_http_request *request, const struct px_buffer *bytes, bool last);

/* pyexec_display_fn and pyexec_output_fn, with the request as their closure. */
int px_sse_display(void *request, const char *json, size_t length);
int px_sse_output(void *request, int stream, const char *bytes, size_t length);

/* An event; `json` is its data. Never waits for the client. */
void px_sse_send(struct px_http_request *request, const char *event, const char *json);

/* The last event; `json` is its data. */
void px_sse_end(struct px_http_request *request, const char *event, const char *json);

/* Called about every second: a comment keeps proxies from giving up. */
void px_sse_tick(struct px_http_request *request, int64_t now_ns);

void px_sse_free(struct px_sse *stream);

#endif
