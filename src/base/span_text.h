/* SPDX-License-Identifier: Apache-2.0 */
/* Writes spans as OTLP/JSON, with commas between them, as in the `spans` of a ScopeSpans. A span is begun, gets its attributes, and is
 * ended; then the next one. */
#ifndef PX_BASE_SPAN_TEXT_H
#define PX_BASE_SPAN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* The kind of a span (opentelemetry/proto/trace/v1). The first two are also in pyexec.h. */
enum { PX_SPAN_INTERNAL = 1, PX_SPAN_SERVER = 2, PX_SPAN_PRODUCER = 4, PX_SPAN_CONSUMER = 5 };

struct px_span_text {
    struct px_buffer text;
    size_t count;
    const char *trace_id, *tracestate; /* of all spans; tracestate NULL: none */
    unsigned flags;
    int64_t epoch_ns; /* px_span_epoch() */
    bool has_attributes;
};

/* CLOCK_REALTIME minus CLOCK_MONOTONIC: the times of spans are those of px_now_ns(). */
int64_t px_span_epoch(void);

/* `parent` "": it has none. `remote`: the parent is of another process. */
void px_span_begin(struct px_span_text *to, const char *id, const char *parent, bool remote, const char *name, int kind,
                   int64_t begin_ns, int64_t end_ns);
void px_span_string(struct px_span_text *to, const char *key, const char *text); /* NULL: no attribute */
void px_span_integer(struct px_span_text *to, const char *key, int64_t number);
void px_span_real(struct px_span_text *to, const char *key, double number);
void px_span_boolean(struct px_span_text *to, const char *key, bool value);
/* `error` is the error.type of a span that failed, or NULL; `message` may be NULL. */
void px_span_end(struct px_span_text *to, const char *error, const char *message);

#endif
