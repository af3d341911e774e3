/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics in the text format of Prometheus 0.0.4, with base units and few labels. The counters of the library are
 * read when the page is requested. This struct has what only the server knows. */
#ifndef PX_SERVE_METRICS_H
#define PX_SERVE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

struct px_server;
struct px_buffer;

/* Upper bounds of the histograms' buckets, in seconds; +Inf is added. */
#define PX_METRIC_BUCKETS(BOUND) \
    BOUND(0.0005) \
    BOUND(0.001) \
    BOUND(0.0025) \
    BOUND(0.005) \
    BOUND(0.01) \
    BOUND(0.025) \
    BOUND(0.05) BOUND(0.1) BOUND(0.25) BOUND(0.5) BOUND(1) BOUND(2.5) BOUND(5) BOUND(10) BOUND(30) BOUND(60)
#define PX_METRIC_ROUTES 64
#define PX_METRIC_BUCKET_COUNT 17

struct px_histogram {
    _Atomic uint64_t buckets[PX_METRIC_BUCKET_COUNT]; /* not cumulative: without the buckets below */
    _Atomic uint64_t nanoseconds;
};

struct px_metrics {
    _Atomic uint64_t
        responses[PX_METRIC_ROUTES][6]; /* counted by route and class of status; class 0: the client went away */
    struct px_histogram requests[PX_METRIC_ROUTES]; /* by route */
    struct px_histogram executions, waits;
    struct px_histogram forwarded; /* requests to the nodes of a fleet */
    _Atomic uint64_t errors[16];   /* failures of the host, by code */
    _Atomic uint64_t received_bytes, sent_bytes;
    int64_t started_seconds;
};

/* A metric's first lines; a metric of one number; the lines of a histogram (`label` "": it has none). */
void px_metric_head(struct px_buffer *out, const char *name, const char *type, const char *help);
void px_metric_number(struct px_buffer *out, const char *name, const char *type, const char *help,
                      unsigned long long value);
void px_metric_histogram(struct px_buffer *out, const char *name, const char *label, const char *value,
                         struct px_histogram *histogram);

void px_histogram_add(struct px_histogram *histogram, int64_t nanoseconds);

/* Appends the whole page. */
void px_metrics_write(struct px_server *server, struct px_buffer *out);

#endif
