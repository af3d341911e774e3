/* SPDX-License-Identifier: Apache-2.0 */
/* The queue as servers use it: waiting jobs hold no thread. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "executor/runtime.h"

struct pyexec_queue {
    struct px_turns *turns;
    struct px_turns own; /* used by a queue without an executor */
};

int pyexec_queue_new(pyexec_executor *executor, uint64_t principal_jobs, pyexec_queue **ret, pyexec_error *error)
{
    pyexec_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return px_error_oom(error);
    queue->turns = &executor->turns;
    px_turns_limit_principals(queue->turns, (int64_t)principal_jobs);
    *ret = queue;
    return 0;
}

int pyexec_queue_new_plain(uint64_t jobs, uint64_t length, uint64_t principal_jobs, pyexec_queue **ret,
                           pyexec_error *error)
{
    pyexec_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return px_error_oom(error);
    queue->turns = &queue->own;
    px_turns_init(queue->turns);
    px_turns_configure_plain(queue->turns, jobs, length);
    px_turns_limit_principals(queue->turns, (int64_t)principal_jobs);
    *ret = queue;
    return 0;
}

void pyexec_queue_free(pyexec_queue *queue)
{
    if (queue && queue->turns == &queue->own)
        px_turns_done(&queue->own);
    free(queue);
}

int pyexec_queue_limit(pyexec_queue *queue, const char *principal, int64_t max_concurrent, double rate,
                       pyexec_error *error)
{
    return px_turns_limit(queue->turns, principal, max_concurrent, rate, error);
}

static pyexec_turn *new_turn(const char *session_id, void *job, pyexec_error *error)
{
    size_t length = session_id ? strlen(session_id) + 1 : 0;
    pyexec_turn *turn = calloc(1, sizeof *turn + length);
    if (!turn) {
        px_error_oom(error);
        return NULL;
    }
    turn->userdata = job;
    if (session_id)
        turn->job.waiter.entry.session = memcpy(turn->session, session_id, length);
    return turn;
}

int pyexec_queue_add(pyexec_queue *queue, const char *principal, const char *session_id, void *job, pyexec_error *error)
{
    pyexec_turn *turn = new_turn(session_id, job, error);
    if (turn && px_turns_add(queue->turns, &turn->job, principal, error) == 0)
        return 0;
    free(turn);
    return -1;
}

int pyexec_queue_begin(pyexec_queue *queue, const char *principal, const char *session_id, void *job,
                       pyexec_turn **ret_turn, pyexec_error *error)
{
    bool begun = false;
    pyexec_turn *turn = new_turn(session_id, job, error);
    int status = turn ? px_turns_begin(queue->turns, &turn->job, principal, &begun, error) : -1;
    *ret_turn = NULL;
    if (status == 0 && begun)
        *ret_turn = turn;
    else
        free(turn);
    return status;
}

pyexec_turn *pyexec_queue_next(pyexec_queue *queue, void **ret_job)
{
    pyexec_turn *turn = (pyexec_turn *)px_turns_next(queue->turns);
    *ret_job = turn->userdata;
    return turn;
}

void pyexec_turn_give_back(pyexec_turn *turn)
{
    px_turn_job_end(turn->job.turn.turns, &turn->job);
}

void pyexec_turn_pause(pyexec_turn *turn)
{
    if (turn)
        px_turn_give_back(&turn->job.turn);
}

void pyexec_turn_free(pyexec_turn *turn)
{
    if (turn)
        pyexec_turn_give_back(turn);
    free(turn);
}
