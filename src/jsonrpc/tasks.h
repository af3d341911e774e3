/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a client that take some time: one thread for each, and a limited number of them. The thread is a new one, or
 * the thread that read the request (line_server.h). */
#ifndef PX_JSONRPC_TASKS_H
#define PX_JSONRPC_TASKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/thread.h"
#include "pyexec.h"

struct px_tasks;

/* One task. It is a member of its owner's struct. */
struct px_task {
    struct px_task *next;
    struct px_tasks *tasks;
    void (*run)(struct px_task *task);    /* called on the task's thread, and does all the work */
    void (*cancel)(struct px_task *task); /* called from another thread; makes the task end soon */
    void (*free)(struct px_task *task);   /* called after `run`, when the task is no longer in the list */
    bool reads;                           /* its thread is still the one that reads; only this thread uses it */
    bool in_order;                        /* no other task is started before px_task_arrived() is called for this one */
    bool arrived;
};

struct px_tasks {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* signalled when a task ends, and for the events that its owner waits for */
    struct px_task *first;  /* protected by lock, and so are the tasks in it */
    size_t count;
    struct px_ended_threads ended;
    struct px_task *here; /* see px_tasks_start_here() */
    bool closed;
    struct px_line_server *server; /* NULL: each task has a new thread */
};

void px_tasks_init(struct px_tasks *tasks);
/* Waits until the last thread is gone. No task may be in progress. */
void px_tasks_done(struct px_tasks *tasks);

/* Starts the task; always called from the same thread. Fails with `overloaded` when too many tasks are in progress
 * or no thread can be started; then the caller still owns the task. */
int px_tasks_start(struct px_tasks *tasks, struct px_task *task, pyexec_error *error);

/* As px_tasks_start(), for the function that px_line_server_run() calls with a line: the thread that called it runs the task
 * after the function has returned. Then another thread reads the next line, when the task has arrived. */
int px_tasks_start_here(struct px_tasks *tasks, struct px_task *task, pyexec_error *error);
/* Runs the task that px_tasks_start_here() has left. False: there is none. */
bool px_tasks_run_here(struct px_tasks *tasks);

/* Says that the task has its place among the calls of its session, or needs none. */
void px_task_arrived(void *task);

/* True when no task is in progress: each has ended and sent its response. */
bool px_tasks_idle(struct px_tasks *tasks);

/* Cancels all tasks, refuses new ones and waits until none is in progress. */
void px_tasks_stop(struct px_tasks *tasks);

#endif
