/* Server-sent events of a run: stdout and stderr as they come, then the result or the error. */
#ifndef PX_SERVE_STREAM_H
#define PX_SERVE_STREAM_H

#include <stdbool.h>

#include "pyexec.h"

struct px_request;
struct px_stream;

/* Whether the client takes events. */
bool px_stream_wanted(const struct px_request *request);

/* Begins the answer: 200, text/event-stream. -1: out of memory. */
int px_stream_begin(struct px_request *request);
/* The same as E2B's server does: a JSON object a line, of which the callers give the `type`; the names
 * of events below are not sent. */
int px_stream_begin_lines(struct px_request *request);

/* pyexec_display_fn and pyexec_output_fn, with the request as their closure. */
int px_stream_display(void *request, const char *json, size_t length);
int px_stream_output(void *request, int stream, const char *bytes, size_t length);

/* An event; `json` is its data. Never waits for the client. */
void px_stream_send(struct px_request *request, const char *event, const char *json);

/* The last event; `json` is its data. */
void px_stream_end(struct px_request *request, const char *event, const char *json);

/* Called about every second: a comment keeps proxies from giving up. */
void px_stream_tick(struct px_request *request, int64_t now_ns);

void px_stream_free(struct px_stream *stream);

#endif
