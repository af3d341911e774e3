/* SPDX-License-Identifier: Apache-2.0 */
/* Sends the spans of an executor to a collector. Executions only put their spans into a queue with a fixed size; one thread takes
 * them out in batches and gives them to a separate program, pyexec-otlp (src/otlp), which speaks HTTP and TLS. When the queue is
 * full, or a batch can't be delivered, spans are dropped and counted. No execution waits for any of it. */
#ifndef PX_TELEMETRY_TELEMETRY_H
#define PX_TELEMETRY_TELEMETRY_H

#include "base/span_text.h"
#include "base/trace_context.h"
#include "policy/config.h"
#include "pyexec.h"

struct px_telemetry;

/* A function that says what happens with the spans, such as "can't be sent". Called on any thread, at most about once a minute. */
typedef void (*px_telemetry_log_fn)(void *closure, const char *event, const char *detail);

/* Starts to send, if the configuration has an endpoint and pyexec-otlp is installed; otherwise *ret is NULL, which the other functions
 * take too. Returns -1 with an error for a value that can't be used. */
int px_telemetry_start(const struct px_telemetry_config *config, px_telemetry_log_fn log, void *closure,
                       struct px_telemetry **ret, pyexec_error *error);

/* Gets the spans of this executor from now on. The executor must be freed first. */
int px_telemetry_attach(struct px_telemetry *telemetry, pyexec_executor *executor, pyexec_error *error);

/* Sends spans of the front itself, of which px_telemetry_sampler() says whether they are recorded. */
void px_telemetry_add(struct px_telemetry *telemetry, const struct px_span_text *spans);
const struct px_trace_sampler *px_telemetry_sampler(const struct px_telemetry *telemetry);

/* Sends what waits, for at most 2 seconds, and ends the program. */
void px_telemetry_stop(struct px_telemetry *telemetry);

struct px_telemetry_counts {
    uint64_t exported, dropped, rejected; /* rejected: by the collector, with an answer */
    uint64_t queued;
};
void px_telemetry_count(struct px_telemetry *telemetry, struct px_telemetry_counts *ret);

#endif
