/* SPDX-License-Identifier: Apache-2.0 */
/* What a client has asked for and takes its time: a thread for each, bounded in number. */
#ifndef PX_JSONRPC_TASKS_H
#define PX_JSONRPC_TASKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "pyexec.h"

struct px_tasks;

/* One of them; its owner embeds it. */
struct px_task {
    struct px_task *next;
    struct px_tasks *tasks;
    void (*run)(struct px_task *task);    /* on its thread, where all of it is done */
    void (*cancel)(struct px_task *task); /* from another: ends soon */
    void (*free)(struct px_task *task);   /* after `run`, when it is in the list no more */
    bool in_order;                        /* no other is started before px_task_arrived() */
    bool arrived;
};

struct px_tasks {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one has ended, or what its owner waits for */
    struct px_task *first;  /* protected by lock, including the listed tasks */
    size_t count;
};

void px_tasks_init(struct px_tasks *tasks);
void px_tasks_done(struct px_tasks *tasks);

/* Starts it, from one thread alone. overloaded: too many are under way, or no thread can be had; it stays the caller's. */
int px_tasks_start(struct px_tasks *tasks, struct px_task *task, pyexec_error *error);

/* It has its place among the calls of its session, or needs none. */
void px_task_arrived(void *task);

/* True when none is in progress: each has ended and sent its response. */
bool px_tasks_idle(struct px_tasks *tasks);

/* Cancels all and waits for them. */
void px_tasks_stop(struct px_tasks *tasks);

#endif
