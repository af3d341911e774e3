/* SPDX-License-Identifier: Apache-2.0 */
/* Types and functions that the files of detached executions share. */
#ifndef PX_SERVE_DETACHED_PRIVATE_H
#define PX_SERVE_DETACHED_PRIVATE_H

#include "serve/detached.h"
#include "serve/server.h"

/* A client that waits for an execution: a stream of its events, or one answer. */
struct px_detached_waiter {
    struct px_detached_waiter *next;
    struct px_detached *detached;
    struct px_http_request *request;
    int64_t deadline_ns; /* when an answer is due; 0: this is a stream; INT64_MAX: only at the end */
    void (*answer)(struct px_http_request *request); /* or NULL */
    /* Only for a stream; the request's lock protects these. */
    uint64_t after;
    struct px_buffer waiting;
    int64_t sent_ns;
};

struct px_detached_table {
    struct px_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t keeper;
    bool stopping;
    char node[80];
    struct px_detached *list; /* the newest is first */
    struct px_detached_waiter *waiters;
};

/* Lets the streams of this execution (NULL: of all) read on. The caller holds the table's lock. */
void px_detached_wake(struct px_detached_table *table, const struct px_detached *detached);

/* Answers the clients that have waited long enough, or whose event has come. */
void px_detached_answer_waiters(struct px_detached_table *table);

/* Sends a comment to each stream that has been silent for a long time. */
void px_detached_keep_alive(struct px_detached_table *table);

void px_detached_drop(struct px_detached *gone);

#endif
