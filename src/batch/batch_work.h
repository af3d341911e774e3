/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the tasks of a batch: a thread for each task in progress takes the next task from the file, runs it here or over HTTP, and
 * writes its end. One lock protects the file, the store and the numbers. */
#ifndef PX_BATCH_BATCH_WORK_H
#define PX_BATCH_BATCH_WORK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "batch/batch_lines.h"
#include "batch/batch_store.h"
#include "batch/batch_task.h"
#include "cli/server_client.h"
#include "cli/settings.h"
#include "pyexec.h"

#define BATCH_KEY_SIZE (BATCH_NUMBER_HEX + BATCH_HASH_HEX + 2)
#define BATCH_KEYS_S \
    (20 * 3600) /* how long a key is certainly known: a day in the fleet (docs/scale.md), less a reserve */

struct batch_work;

/* What a thread has. */
struct batch_seat {
    struct batch_work *work;
    pthread_t thread;
    char key[BATCH_KEY_SIZE];    /* of the task, for a fleet; "": none */
    bool unsure;                 /* the task may have been started before, with this key */
    bool earlier;                /* the key is that of an earlier command */
    int64_t known_until_s;       /* how long the fleet certainly knows the key */
    pyexec_request *request;     /* of the run that is in progress here; the lock protects it */
    struct server_answer answer; /* the connection to a server */
};

enum batch_outcome {
    BATCH_RESULT,    /* `text` has it */
    BATCH_NO_RESULT, /* `dead` says why */
    BATCH_AGAIN,     /* nothing was started: send it again after `wait_ms` */
    BATCH_ASK_AGAIN, /* it is not known whether it was started: ask again with its key */
    BATCH_FAILED,    /* nothing was started, and no other task would be: `error` says why */
};

struct batch_end {
    enum batch_outcome outcome;
    struct px_buffer text;
    struct batch_dead dead; /* its texts may be those of `error` */
    char code[32];          /* for `dead` */
    int wait_ms;
    pyexec_error error;
};

/* Runs the task, and waits for its end. */
typedef void batch_run_fn(struct batch_seat *seat, const struct batch_task *task, struct batch_end *ret);

struct batch_counts {
    uint64_t total;              /* tasks of the file */
    uint64_t before;             /* those with a result or a dead letter from an earlier command */
    uint64_t ok, other;          /* results by status: ok, and others */
    uint64_t dead, may_have_run; /* dead letters */
    uint64_t running, waiting;   /* now; waiting: to be sent again */
};

struct batch_work {
    /* Set before the start. */
    struct batch_store *store;
    batch_run_fn *run;
    pyexec_executor *executor;   /* for batch_run_here() */
    const struct server *server; /* for batch_run_remote() */
    json_t *defaults;            /* policy_defaults for a server, or NULL */
    bool keyed;                  /* requests have a key */
    bool retry_lost;
    int wake; /* an eventfd that becomes readable when something has ended */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* stopping or cancelling was set */
    struct batch_lines tasks;
    bool stopping;   /* no new tasks */
    bool cancelling; /* the tasks in progress end too */
    bool failed;     /* `error` says why the batch can't go on */
    pyexec_error error;
    int64_t silent_ns; /* since when the server can't be reached; 0: it was, the last time */
    struct batch_counts counts;
    struct batch_seat *seats;
    size_t seat_count, left; /* left: threads that have not ended */
};

/* The caller zeroes it and sets its first part. */
void batch_work_init(struct batch_work *work);
/* All threads have ended. */
void batch_work_done(struct batch_work *work);

/* Reads the whole file, for the number of its tasks and for ids that are there twice. */
int batch_work_check(struct batch_work *work, int tasks, pyexec_error *error);
int batch_work_start(struct batch_work *work, int tasks, size_t concurrency, pyexec_error *error);
/* No new tasks; `cancel`: ends those in progress. */
void batch_work_stop(struct batch_work *work, bool cancel);
/* Stops because of the error, if this is the first one. */
void batch_work_fail(struct batch_work *work, const pyexec_error *error);
struct batch_counts batch_work_counts(struct batch_work *work, size_t *ret_left);

batch_run_fn batch_run_here, batch_run_remote;

#endif
