/* What a client has asked for and takes its time: a thread for each, bounded in number. */
#ifndef PX_JSONRPC_TASKS_H
#define PX_JSONRPC_TASKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "pyexec.h"

struct px_works;

/* One of them; its owner embeds it. */
struct px_work {
    struct px_work *next;
    struct px_works *works;
    void (*run)(struct px_work *work);      /* on its thread, where all of it is done */
    void (*cancel)(struct px_work *work);   /* from another: ends soon */
    void (*free)(struct px_work *work);     /* after `run`, when it is in the list no more */
    bool in_order;                          /* no other is started before px_work_arrived() */
    bool arrived;
};

struct px_works {
    pthread_mutex_t lock;
    pthread_cond_t changed;                 /* one has ended, or what its owner waits for */
    struct px_work *first;                  /* protected by lock, including the listed tasks */
    size_t count;
};

void px_works_init(struct px_works *works);
void px_works_done(struct px_works *works);

/* Starts it, from one thread alone. overloaded: too many are under way, or no thread can be had; it stays the caller's. */
int px_works_start(struct px_works *works, struct px_work *work, pyexec_error *error);

/* It has its place among the calls of its session, or needs none. */
void px_work_arrived(void *work);

/* True when none is in progress: each has ended and sent its response. */
bool px_works_idle(struct px_works *works);

/* Cancels all and waits for them. */
void px_works_stop(struct px_works *works);

#endif
