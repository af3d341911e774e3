/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json_find.h"
#include "base/thread.h"

#define START_LOST_HINT "Its result is lost. If it may run twice, run it again with --retry-lost."

void batch_work_init(struct batch_work *work)
{
    pthread_mutex_init(&work->lock, NULL);
    px_cond_init(&work->changed);
}

void batch_work_done(struct batch_work *work)
{
    free(work->seats);
    batch_lines_done(&work->tasks);
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->lock);
}

/* ---- The file before the start ---- */

static int take_id(struct batch_work *work, const struct batch_task *task, pyexec_error *error)
{
    struct batch_id *slot = batch_ids_add(&work->store->ids, &task->hash);
    if (!slot || task->line > BATCH_NUMBER_MAX)
        return px_error_oom(error);
    if (slot->number) {
        px_auto_free char *id = px_json_dumps(task->id, JSON_ENCODE_ANY);
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the id %.200s is there twice, in lines %u and %llu", id ? id : "",
                     (unsigned)slot->number, (unsigned long long)task->line);
        return px_error_hint(error, "Give each task another id, or remove the ids.");
    }
    slot->number = (uint32_t)task->line & BATCH_NUMBER_MAX;
    work->counts.total++;
    work->counts.before += slot->settled;
    return 0;
}

static int tasks_failed(pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read the file of tasks");
    return px_error_hint(error, "The same command continues when it can be read.");
}

int batch_work_check(struct batch_work *work, int tasks, pyexec_error *error)
{
    struct batch_line line;
    int status;
    px_auto(batch_lines_done) struct batch_lines lines;
    batch_lines_init(&lines, tasks, BATCH_LINE_MAX);
    while ((status = batch_lines_next(&lines, &line)) > 0) {
        px_auto(batch_task_done) struct batch_task task;
        int is_task = batch_task_read(&task, &line);
        if (is_task < 0)
            return px_error_oom(error);
        if (is_task && take_id(work, &task, error) < 0)
            return -1;
    }
    return status < 0 ? tasks_failed(error) : 0;
}

/* ---- Stopping ---- */

static void fail_locked(struct batch_work *work, const pyexec_error *error)
{
    if (!work->failed)
        work->error = *error;
    work->failed = work->stopping = true;
    pthread_cond_broadcast(&work->changed);
    px_wake(work->wake);
}

void batch_work_fail(struct batch_work *work, const pyexec_error *error)
{
    pthread_mutex_lock(&work->lock);
    fail_locked(work, error);
    pthread_mutex_unlock(&work->lock);
}

void batch_work_stop(struct batch_work *work, bool cancel)
{
    pthread_mutex_lock(&work->lock);
    work->stopping = true;
    work->cancelling |= cancel;
    for (size_t i = 0; cancel && i < work->seat_count; i++)
        if (work->seats[i].request)
            pyexec_request_cancel(work->seats[i].request);
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
}

/* ---- The end of a task ---- */

/* Writes a dead letter. */
static void bury(struct batch_work *work, const struct batch_task *task, const struct batch_dead *dead)
{
    pyexec_error error;
    if (batch_store_dead(work->store, task, dead, &error) < 0) {
        fail_locked(work, &error);
        return;
    }
    work->counts.dead++;
    work->counts.may_have_run += dead->may_have_run;
}

static void keep_result(struct batch_work *work, const struct batch_task *task, const struct px_buffer *text)
{
    pyexec_error error;
    struct px_json_span status = px_json_find((struct px_json_span){text->data, text->length}, "status");
    if (batch_store_result(work->store, task, text->data, text->length, &error) < 0)
        fail_locked(work, &error);
    else if (status.length == 4 && memcmp(status.at, "\"ok\"", 4) == 0)
        work->counts.ok++;
    else
        work->counts.other++;
}

/* True if no request has started the task. An answer says this only of its own request. */
static bool is_unstarted(const struct batch_seat *seat, const struct batch_end *end)
{
    return !seat->unsure && (end->outcome == BATCH_AGAIN || end->outcome == BATCH_FAILED);
}

static void settle(struct batch_seat *seat, const struct batch_task *task, const struct batch_end *end)
{
    pyexec_error error;
    struct batch_work *work = seat->work;
    work->counts.running--;
    if (end->outcome == BATCH_RESULT)
        keep_result(work, task, &end->text);
    else if (end->outcome == BATCH_NO_RESULT)
        bury(work, task, &end->dead);
    else if (is_unstarted(seat, end) && batch_store_give_back(work->store, task, &error) < 0)
        fail_locked(work, &error);
    if (end->outcome == BATCH_FAILED)
        fail_locked(work, &end->error);
    px_wake(work->wake);
}

/* ---- The next task ---- */

static void name_key(struct batch_seat *seat, const struct batch_task *task, const struct batch_epoch *epoch)
{
    char hex[BATCH_HASH_HEX + 1];
    batch_hash_format(&task->hash, hex);
    seat->key[0] = '\0';
    if (seat->work->keyed)
        snprintf(seat->key, sizeof seat->key, "%s-%s", epoch->number, hex);
}

/* Writes down that the task starts now, with a key of this command. */
static int begin(struct batch_seat *seat, const struct batch_task *task, pyexec_error *error)
{
    struct batch_store *store = seat->work->store;
    if (batch_store_start(store, task, error) < 0)
        return -1;
    name_key(seat, task, &store->epochs[store->epoch_count - 1]);
    seat->unsure = seat->earlier = false;
    seat->known_until_s = time(NULL) + BATCH_KEYS_S;
    return 0;
}

/* A task that an earlier command started, and whose end it did not write. With its key it can be asked for. Returns true if it is
 * run. */
static bool take_started(struct batch_seat *seat, const struct batch_task *task, const struct batch_epoch *epoch)
{
    struct batch_work *work = seat->work;
    if (work->keyed && time(NULL) - epoch->began_s < BATCH_KEYS_S) {
        name_key(seat, task, epoch);
        seat->unsure = seat->earlier = true;
        seat->known_until_s = epoch->began_s + BATCH_KEYS_S;
        return true;
    }
    if (!work->retry_lost)
        bury(work, task,
             &(struct batch_dead){"lost", true, "already_started",
                                  "it was started, and the command ended before it had its result", START_LOST_HINT});
    return false;
}

/* Returns true if the task is run by this thread. */
static bool claim(struct batch_seat *seat, const struct batch_task *task)
{
    struct batch_work *work = seat->work;
    struct batch_store *store = work->store;
    pyexec_error error;
    const struct batch_id *slot = batch_ids_find(&store->ids, &task->hash);
    if (!slot || slot->number != task->line) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "line %llu of the tasks has changed since the start",
                     (unsigned long long)task->line);
        px_error_hint(&error, "Run the command again: it continues with the file as it is then.");
        fail_locked(work, &error);
        return false;
    }
    if (slot->settled)
        return false;
    if (!task->body) {
        bury(work, task,
             &(struct batch_dead){"invalid", false, pyexec_code_name(task->error.code), task->error.message,
                                  task->error.hint});
        return false;
    }
    const struct batch_epoch *epoch = batch_store_started(store, task);
    if (epoch && take_started(seat, task, epoch))
        return true;
    if (epoch && !work->retry_lost)
        return false;
    if (begin(seat, task, &error) == 0)
        return true;
    fail_locked(work, &error);
    return false;
}

/* Returns false when there is no other task for this thread. */
static bool take_task(struct batch_seat *seat, struct batch_task *ret)
{
    struct batch_work *work = seat->work;
    struct batch_line line;
    pyexec_error error;
    int status;
    while (!work->stopping && (status = batch_lines_next(&work->tasks, &line)) != 0) {
        int is_task = status < 0 ? 0 : batch_task_read(ret, &line);
        if (status < 0)
            tasks_failed(&error);
        else if (is_task < 0)
            px_error_oom(&error);
        if (status < 0 || is_task < 0)
            fail_locked(work, &error);
        else if (is_task && claim(seat, ret))
            return true;
        batch_task_done(ret);
    }
    return false;
}

/* ---- The threads ---- */

/* Returns false if the task is not sent again now: one that was not started when no new tasks are wanted, and each when those in
 * progress end. */
static bool wait_to_repeat(const struct batch_seat *seat, const struct batch_end *end)
{
    struct batch_work *work = seat->work;
    bool unstarted = is_unstarted(seat, end);
    int64_t until = px_now_ns() + end->wait_ms * PX_NS_PER_MS;
    work->counts.waiting++;
    while (!work->cancelling && !work->failed && !(unstarted && work->stopping) && px_now_ns() < until)
        px_cond_wait_until(&work->changed, &work->lock, until);
    work->counts.waiting--;
    return !work->cancelling && !work->failed && !(unstarted && work->stopping);
}

/* The fleet will forget the key: the next question with it could start the task a second time. */
static void forget_key(struct batch_end *end)
{
    px_error_set(&end->error, PYEXEC_INTERNAL, "the fleet did not say in %d hours how it ended", BATCH_KEYS_S / 3600);
    end->outcome = BATCH_NO_RESULT;
    end->dead = (struct batch_dead){"lost", true, "already_started", end->error.message, START_LOST_HINT};
}

/* With --retry-lost, what an earlier command has lost starts again, with a new key. Returns true if it does. */
static bool retry_lost(struct batch_seat *seat, const struct batch_task *task, const struct batch_end *end)
{
    pyexec_error error;
    struct batch_work *work = seat->work;
    if (!work->retry_lost || !seat->earlier || end->outcome != BATCH_NO_RESULT || !end->dead.may_have_run ||
        work->stopping)
        return false;
    if (begin(seat, task, &error) == 0)
        return true;
    fail_locked(work, &error);
    return false;
}

/* Returns true if the task is sent again now. */
static bool repeat(struct batch_seat *seat, const struct batch_task *task, struct batch_end *end)
{
    bool asks = end->outcome == BATCH_AGAIN || end->outcome == BATCH_ASK_AGAIN;
    if (asks && seat->unsure && time(NULL) >= seat->known_until_s)
        forget_key(end);
    else if (asks)
        return wait_to_repeat(seat, end);
    return retry_lost(seat, task, end);
}

static void run_task(struct batch_seat *seat, const struct batch_task *task)
{
    struct batch_work *work = seat->work;
    struct batch_end end = {0};
    bool again = true;
    work->counts.running++;
    while (again) {
        pthread_mutex_unlock(&work->lock);
        px_buffer_done(&end.text);
        work->run(seat, task, &end);
        pthread_mutex_lock(&work->lock);
        seat->unsure |= end.outcome == BATCH_ASK_AGAIN;
        again = repeat(seat, task, &end);
    }
    settle(seat, task, &end);
    px_buffer_done(&end.text);
}

static void *serve_seat(void *closure)
{
    struct batch_seat *seat = closure;
    struct batch_work *work = seat->work;
    struct batch_task task = {0};
    pthread_mutex_lock(&work->lock);
    while (take_task(seat, &task)) {
        run_task(seat, &task);
        batch_task_done(&task);
    }
    work->left--;
    px_wake(work->wake);
    pthread_mutex_unlock(&work->lock);
    server_close(&seat->answer);
    return NULL;
}

int batch_work_start(struct batch_work *work, int tasks, size_t concurrency, pyexec_error *error)
{
    batch_lines_init(&work->tasks, tasks, BATCH_LINE_MAX);
    work->seats = calloc(concurrency, sizeof *work->seats);
    if (!work->seats)
        return px_error_oom(error);
    pthread_mutex_lock(&work->lock);
    int failed = 0;
    while (!failed && work->seat_count < concurrency) {
        struct batch_seat *seat = &work->seats[work->seat_count];
        *seat = (struct batch_seat){.work = work, .answer.fd = -1};
        failed = px_thread_create(&seat->thread, serve_seat, seat);
        work->seat_count += !failed;
    }
    work->left = work->seat_count;
    pthread_mutex_unlock(&work->lock);
    return work->seat_count ? 0 : px_error_exhausted(error, failed, "can't start a thread");
}

struct batch_counts batch_work_counts(struct batch_work *work, size_t *ret_left)
{
    pthread_mutex_lock(&work->lock);
    struct batch_counts counts = work->counts;
    *ret_left = work->left;
    pthread_mutex_unlock(&work->lock);
    return counts;
}
