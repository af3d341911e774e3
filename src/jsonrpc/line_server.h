/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a client's lines with the threads of a crew (base/crew.h). A thread reads a line and passes it to a function. If that
 * function starts a task with px_tasks_start_here(), the same thread runs it, and another thread reads on meanwhile:
 * it wakes only when something arrives. So a client that waits for each answer has one thread that does everything. */
#ifndef PX_JSONRPC_LINE_SERVER_H
#define PX_JSONRPC_LINE_SERVER_H

#include <pthread.h>
#include <stdbool.h>

#include "base/crew.h"
#include "jsonrpc/line_transport.h"
#include "jsonrpc/tasks.h"

struct px_line_server {
    struct px_line_reader reader; /* used by one thread at a time: the one that owns `input` or `rest` */
    struct px_tasks *tasks;
    struct px_crew *crew;
    struct px_crew_source input;
    struct px_crew_source rest; /* always ready: wakes a thread for lines that are in the buffer already */
    struct px_crew_source stop;
    pthread_mutex_t lock; /* held by the thread that reads: what one thread has written, the next one must see */
    bool always_readable; /* `input` is a file that epoll does not take: it is read without waiting */
    pthread_mutex_t end_lock;
    pthread_cond_t ended;
    bool has_ended;
};

/* Reads until the same ends as px_line_transport_read(). Tasks may be in progress when it returns: end them with
 * px_tasks_stop(), and then end the threads with px_line_server_end(). */
void px_line_server_run(struct px_line_server *server, struct px_line_transport *lines, struct px_tasks *tasks,
                        int input, px_line_fn take, void *closure);
void px_line_server_end(struct px_line_server *server);

/* For tasks.c: makes sure that a thread can read on while this one is busy. Returns 0 or an errno. */
int px_line_server_reserve(struct px_line_server *server);
/* For tasks.c: this thread stops reading, so that another one can go on. */
void px_line_server_let_go(struct px_line_server *server);

#endif
