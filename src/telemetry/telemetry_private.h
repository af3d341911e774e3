/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of px_telemetry, for the files of this room. */
#ifndef PX_TELEMETRY_TELEMETRY_PRIVATE_H
#define PX_TELEMETRY_TELEMETRY_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "telemetry/telemetry.h"

/* The spans of one execution. */
struct px_telemetry_item {
    struct px_telemetry_item *next;
    size_t count, length;
    char text[];
};

/* The process of pyexec-otlp. Only the exporting thread uses it. */
struct px_telemetry_sender {
    char *program, *greeting; /* its first line: address, headers, limits */
    int64_t answer_ms;        /* after this time without an answer it is ended */
    pid_t pid;                /* 0: it does not run */
    int socket;
    int64_t next_start_ns; /* a program that ends by itself is not started again at once */
    struct px_buffer in;
};

struct px_telemetry {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool runs; /* the thread was started */
    struct px_telemetry_item *first, *last;
    size_t queued, bytes; /* spans, and their text */
    int64_t first_ns;     /* when the oldest item came */
    bool closing;
    int64_t end_ns; /* when closing: nothing is sent after this */
    int wake;       /* an eventfd, readable when closing */
    size_t queue_max, batch_max;
    int64_t delay_ns;
    struct px_telemetry_counts counts;
    px_telemetry_log_fn log;
    void *closure;
    int64_t logged_ns;
    bool failing;
    char *sampler;
    double ratio;
    struct px_trace_sampler chosen; /* by these two */
    unsigned flags;
    char *head; /* the body before the spans */
    struct px_telemetry_sender sender;
};

/* How the sending of a batch ended. */
enum px_telemetry_outcome { PX_TELEMETRY_EXPORTED, PX_TELEMETRY_FAILED };

/* Reads the configuration into `telemetry` (telemetry_body.c). */
int px_telemetry_read(struct px_telemetry *telemetry, const struct px_telemetry_config *config, pyexec_error *error);

/* Sends a batch and waits for the answer (telemetry_sender.c). *ret_rejected: how many spans of it the collector did not take;
 * `why` gets the reason when something went wrong. */
enum px_telemetry_outcome px_telemetry_send(struct px_telemetry *telemetry, const struct px_buffer *body,
                                            uint64_t *ret_rejected, char *why, size_t why_size);
void px_telemetry_sender_end(struct px_telemetry_sender *sender);

#endif
