/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context: the headers traceparent and tracestate, and ids for spans. Both headers come from callers who may be
 * hostile: a text that is not exactly of the standard's form counts as none. */
#ifndef PX_BASE_TRACE_CONTEXT_H
#define PX_BASE_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#define PX_TRACEPARENT_SIZE 56 /* VERSION-TRACE-PARENT-FLAGS and a NUL */
#define PX_TRACESTATE_MAX 512  /* the length that the standard asks everybody to pass on */
#define PX_TRACE_SAMPLED 0x01  /* the caller records this trace */

struct px_trace_context {
    char trace_id[33]; /* lower-case hexadecimal digits; "": there is no trace */
    char span_id[17];
    unsigned flags;
};

/* Reads a traceparent (NULL: there is none). Returns false, with *ret empty, when it is not valid. */
bool px_trace_context_parse(const char *traceparent, struct px_trace_context *ret);

void px_trace_context_format(const struct px_trace_context *context, char ret[PX_TRACEPARENT_SIZE]);

/* True for a tracestate that may be passed on. */
bool px_trace_state_is_valid(const char *tracestate);

/* Which traces are recorded. */
struct px_trace_sampler {
    bool follows_parent; /* a caller's decision counts */
    double ratio;        /* the part of the other traces that is recorded, from 0 to 1 */
};

/* Reads always_on, always_off or traceidratio, or one of these after parentbased_. Returns -1 for other texts, and for a ratio that is
 * not between 0 and 1. */
int px_trace_sampler_parse(const char *text, double ratio, struct px_trace_sampler *ret);

/* `parent`: the caller's span, or an empty one. */
bool px_trace_is_recorded(const struct px_trace_sampler *sampler, const struct px_trace_context *parent,
                          const char *trace_id);

/* Makes random ids that are not 0: a trace's id has 32 digits, a span's has 16. `ret` has room for the digits and a NUL. Returns
 * 0, or -1 with errno. */
int px_trace_make_id(char *ret, size_t digits);

#endif
