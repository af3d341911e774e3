/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/turns.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/error.h"
#include "executor/host_memory.h"

/* A run that begins to wait gives up its turn after a short time, so that many short sleeps can overlap. After
 * it has woken it must wait longer: otherwise a script that sleeps and works in turns would share its turn with
 * more and more others. Hundreds may be asleep, so they are measured less often. */
#define WINDOW_NS (5 * PX_NS_PER_MS)
#define WINDOW_WOKEN_NS (100 * PX_NS_PER_MS)
#define WINDOW_ASLEEP_NS (20 * PX_NS_PER_MS)

#define DESCRIPTORS_OF_A_RUN 9 /* descriptors of the host for each run: seven, and two more while it starts */
#define DESCRIPTORS_KEPT 64    /* for everything else in the host's process */
#define END_WAIT_NS (100 * PX_NS_PER_MS)

/* Returns how many runs the limit of open files allows besides those with a turn. */
static size_t most_asleep(size_t wanted, size_t busy_max)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    size_t all = limit.rlim_cur > DESCRIPTORS_KEPT ? (limit.rlim_cur - DESCRIPTORS_KEPT) / DESCRIPTORS_OF_A_RUN : 0;
    size_t room = all > busy_max ? all - busy_max : 0;
    return wanted < room ? wanted : room;
}

void px_turns_init(struct px_turns *turns)
{
    *turns = (struct px_turns){0};
    pthread_mutex_init(&turns->lock, NULL);
    px_cond_init(&turns->left);
    px_cond_init(&turns->jobs);
    px_queue_init(&turns->queue, 0, 0);
}

void px_turns_configure(struct px_turns *turns, const struct px_host *host, const struct px_policy *policy)
{
    turns->busy_max = (size_t)host->max_concurrent;
    turns->asleep_max = most_asleep((size_t)host->max_asleep, turns->busy_max);
    turns->queue.length = (size_t)host->queue_length;
    uint64_t most = UINT64_MAX / turns->busy_max, run_bytes = most;
    if (policy->address_space_bytes != PX_NONE)
        run_bytes = (uint64_t)policy->address_space_bytes + (uint64_t)policy->workspace_bytes;
    turns->run_bytes = run_bytes < most ? run_bytes : most;
}

void px_turns_configure_plain(struct px_turns *turns, size_t count, size_t queue_length)
{
    turns->busy_max = count;
    turns->queue.length = queue_length;
}

void px_turns_done(struct px_turns *turns)
{
    px_queue_done(&turns->queue);
    pthread_cond_destroy(&turns->jobs);
    pthread_mutex_destroy(&turns->lock);
    pthread_cond_destroy(&turns->left);
}

/* ---- States; call with the lock held ---- */

static void list_turn(struct px_turns *turns, struct px_turn *turn)
{
    turn->previous = NULL;
    turn->next = turns->first;
    if (turn->next)
        turn->next->previous = turn;
    turns->first = turn;
}

static void unlist_turn(struct px_turns *turns, struct px_turn *turn)
{
    *(turn->previous ? &turn->previous->next : &turns->first) = turn->next;
    if (turn->next)
        turn->next->previous = turn->previous;
}

/* No other function changes a state. */
static void set_state(struct px_turns *turns, struct px_turn *turn, enum px_turn_state state)
{
    size_t *const counts[] = {[PX_TURN_OUT] = NULL, [PX_TURN_BUSY] = &turns->busy, [PX_TURN_ASLEEP] = &turns->asleep};
    if (turn->state == state)
        return;
    if (turn->state == PX_TURN_OUT) {
        turn->has_woken = false;
        list_turn(turns, turn);
    }
    if (state == PX_TURN_OUT)
        unlist_turn(turns, turn);
    if (counts[turn->state])
        --*counts[turn->state];
    if (counts[state])
        ++*counts[state];
    turn->has_woken |= turn->state == PX_TURN_ASLEEP;
    turn->state = state;
}

/* When max_concurrent runs or more are in progress, another run starts only while the free memory is enough for
 * max_concurrent runs. On a small machine a quarter of its memory is enough. */
static bool has_memory(const struct px_turns *turns)
{
    struct px_host_memory memory;
    px_host_memory_read(&memory);
    uint64_t kept = turns->busy_max * turns->run_bytes;
    if (kept > memory.total_bytes / 4)
        kept = memory.total_bytes / 4;
    return memory.available_bytes >= kept;
}

/* Finds out which runs are asleep, unless they were measured a moment ago. */
static void measure(struct px_turns *turns)
{
    int64_t now = px_now_ns();
    if (now - turns->measured_ns < WINDOW_NS)
        return;
    turns->measured_ns = now;
    for (struct px_turn *turn = turns->first; turn; turn = turn->next) {
        int64_t window = turn->state == PX_TURN_ASLEEP ? WINDOW_ASLEEP_NS
                         : turn->has_woken             ? WINDOW_WOKEN_NS
                                                       : WINDOW_NS;
        bool waits = px_activity_waits(&turn->activity, window);
        set_state(turns, turn, waits ? PX_TURN_ASLEEP : PX_TURN_BUSY);
    }
    turns->has_memory = has_memory(turns);
}

/* Returns how many turns are free. Nothing is measured while fewer than max_concurrent runs are in progress. */
static size_t count_free(struct px_turns *turns)
{
    size_t in_progress = turns->busy + turns->asleep;
    if (in_progress < turns->busy_max)
        return turns->busy_max - in_progress;
    size_t room = turns->busy_max + turns->asleep_max - in_progress;
    if (!turns->asleep_max || in_progress >= turns->busy_max + turns->asleep_max)
        return 0;
    measure(turns);
    size_t free_turns = turns->busy < turns->busy_max && turns->has_memory ? turns->busy_max - turns->busy : 0;
    return free_turns < room ? free_turns : room;
}

/* Call this after each change of the turns or the queue: it wakes the thread that is next, which then checks whether a
 * turn is free. */
static void wake_next(struct px_turns *turns)
{
    struct px_queue_entry *next = px_queue_next(&turns->queue);
    if (next)
        pthread_cond_signal(((struct px_turn_waiter *)next)->changed);
}

/* ---- Taking and giving back ---- */

static int refuse(const struct px_turns *turns, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "%zu runs are in progress, %zu of them asleep, and %zu are waiting",
                 turns->busy + turns->asleep, turns->asleep, turns->queue.waiting);
    return px_error_hint(error, "The code never started; try again later, or raise queue_length or max_concurrent.");
}

/* Sleeps until something has changed. `is_next`: the next turn is for this thread. Then, if more runs may be in
 * progress, it also wakes after the measuring interval, because nothing wakes it when a process begins to sleep. */
static void sleep_for_turn(struct px_turns *turns, pthread_cond_t *changed, bool is_next)
{
    if (is_next && turns->busy + turns->asleep < turns->busy_max + turns->asleep_max)
        px_cond_wait_until(changed, &turns->lock, turns->measured_ns + WINDOW_NS);
    else
        pthread_cond_wait(changed, &turns->lock);
}

/* Waits in the queue, as an entry without a principal. */
static void await_turn(struct px_turns *turns, struct px_queue_principal *nobody)
{
    pthread_cond_t changed;
    struct px_turn_waiter waiter = {.entry.principal = nobody, .changed = &changed};
    px_cond_init(&changed);
    px_queue_add(&turns->queue, &waiter.entry);
    for (;;) {
        bool is_next = px_queue_next(&turns->queue) == &waiter.entry;
        if (turns->closed || (is_next && count_free(turns)))
            break;
        sleep_for_turn(turns, &changed, is_next);
    }
    if (!turns->closed)
        px_queue_begin(&turns->queue, &waiter.entry);
    px_queue_leave(&turns->queue, &waiter.entry);
    pthread_cond_destroy(&changed);
}

/* Call this with the lock held. */
static int take(struct px_turns *turns, struct px_turn *turn, bool patient, pyexec_error *error)
{
    if (!turns->closed && (px_queue_next(&turns->queue) || !count_free(turns))) {
        int ignored;
        struct px_queue_principal *nobody = px_queue_principal(&turns->queue, NULL);
        if (!nobody)
            return px_error_oom(error);
        if (!patient && px_queue_admit(&turns->queue, nobody, 0, &ignored) != PX_QUEUE_ADMITTED)
            return refuse(turns, error);
        await_turn(turns, nobody);
    }
    turn->turns = turns;
    if (turns->closed)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the executor is being closed");
    set_state(turns, turn, PX_TURN_BUSY);
    return 0;
}

int px_turns_take(struct px_turns *turns, struct px_turn *turn, bool patient, pyexec_error *error)
{
    pthread_mutex_lock(&turns->lock);
    int result = take(turns, turn, patient, error);
    wake_next(turns);
    pthread_cond_broadcast(&turns->left);
    pthread_mutex_unlock(&turns->lock);
    return result;
}

bool px_turns_try(struct px_turns *turns, struct px_turn *turn)
{
    pthread_mutex_lock(&turns->lock);
    bool free = !turns->closed && !turns->queue.waiting && count_free(turns);
    turn->turns = turns;
    if (free)
        set_state(turns, turn, PX_TURN_BUSY);
    pthread_mutex_unlock(&turns->lock);
    return free;
}

bool px_turn_is_held(struct px_turn *turn)
{
    if (!turn->turns)
        return false;
    pthread_mutex_lock(&turn->turns->lock);
    bool held = turn->state != PX_TURN_OUT;
    pthread_mutex_unlock(&turn->turns->lock);
    return held;
}

void px_turn_give_back(struct px_turn *turn)
{
    struct px_turns *turns = turn->turns;
    if (!turns)
        return;
    pthread_mutex_lock(&turns->lock);
    set_state(turns, turn, PX_TURN_OUT);
    wake_next(turns);
    pthread_cond_broadcast(&turns->left);
    pthread_mutex_unlock(&turns->lock);
}

void px_turn_watch(void *data, const struct px_child *child, int64_t cpu_ns)
{
    struct px_turn *turn = data;
    pthread_mutex_lock(&turn->turns->lock);
    if (child) {
        px_activity_begin(&turn->activity, child, cpu_ns);
    } else {
        px_activity_end(&turn->activity);
        set_state(turn->turns, turn, PX_TURN_BUSY);
    }
    pthread_mutex_unlock(&turn->turns->lock);
}

/* ---- Jobs ---- */

int px_turns_limit(struct px_turns *turns, const char *principal, int64_t max_concurrent, double rate,
                   pyexec_error *error)
{
    pthread_mutex_lock(&turns->lock);
    struct px_queue_principal *found = px_queue_principal(&turns->queue, principal);
    if (found)
        px_queue_limit(found, max_concurrent, rate);
    wake_next(turns);
    pthread_mutex_unlock(&turns->lock);
    return found ? 0 : px_error_oom(error);
}

void px_turns_limit_principals(struct px_turns *turns, int64_t most)
{
    pthread_mutex_lock(&turns->lock);
    turns->queue.principal_max = most;
    pthread_mutex_unlock(&turns->lock);
}

static int refuse_job(const struct px_turns *turns, enum px_queue_answer answer, double rate, int wait_ms,
                      pyexec_error *error)
{
    if (answer == PX_QUEUE_OVER_RATE) {
        px_error_set(error, PYEXEC_OVERLOADED, "more than %g runs per second", rate);
        px_error_hint(error, "Wait %d ms, or ask the operator of pyexec to raise the rate of this principal.", wait_ms);
        error->sys_errno = EAGAIN;
    } else {
        px_error_set(error, PYEXEC_OVERLOADED, "%zu requests are waiting", turns->queue.waiting);
        px_error_hint(error, "Send it again later, or raise [host] max_concurrent or queue_length.");
        wait_ms = 1000;
    }
    error->retry_after_ms = wait_ms;
    return -1;
}

static int admit(struct px_turns *turns, struct px_queue_principal *principal, pyexec_error *error)
{
    int wait_ms;
    enum px_queue_answer answer = px_queue_admit(&turns->queue, principal, 0, &wait_ms);
    /* A job that can begin at once needs no place in the queue. This is checked last because it may measure all runs. */
    if (answer == PX_QUEUE_FULL)
        answer = px_queue_admit(&turns->queue, principal, count_free(turns), &wait_ms);
    if (answer == PX_QUEUE_ADMITTED)
        return 0;
    return refuse_job(turns, answer, px_queue_rate(principal), wait_ms, error);
}

int px_turns_add(struct px_turns *turns, struct px_turn_job *job, const char *principal, pyexec_error *error)
{
    pthread_mutex_lock(&turns->lock);
    job->waiter.changed = &turns->jobs;
    job->added_ns = px_now_ns();
    job->waiter.entry.principal = px_queue_principal(&turns->queue, principal);
    int result = job->waiter.entry.principal ? admit(turns, job->waiter.entry.principal, error) : px_error_oom(error);
    if (result == 0)
        px_queue_add(&turns->queue, &job->waiter.entry);
    wake_next(turns);
    pthread_mutex_unlock(&turns->lock);
    return result;
}

/* Begins the job, which is the next in the queue. The caller holds the lock. */
static void begin_job(struct px_turns *turns, struct px_turn_job *job)
{
    px_queue_begin(&turns->queue, &job->waiter.entry);
    job->turn.turns = turns;
    if (!turns->closed)
        set_state(turns, &job->turn, PX_TURN_BUSY);
}

/* With the lock held. Only the queue knows whether the job would be next, so it is added for a moment. */
static bool may_begin(struct px_turns *turns, struct px_queue_entry *entry)
{
    if (turns->closed)
        return false;
    px_queue_add(&turns->queue, entry);
    bool is_next = px_queue_next(&turns->queue) == entry && count_free(turns);
    px_queue_leave(&turns->queue, entry);
    return is_next;
}

int px_turns_begin(struct px_turns *turns, struct px_turn_job *job, const char *principal, bool *ret_begun,
                   pyexec_error *error)
{
    struct px_queue_entry *entry = &job->waiter.entry;
    pthread_mutex_lock(&turns->lock);
    job->waiter.changed = &turns->jobs;
    job->added_ns = px_now_ns();
    entry->principal = px_queue_principal(&turns->queue, principal);
    int result = entry->principal ? 0 : px_error_oom(error);
    *ret_begun = result == 0 && may_begin(turns, entry);
    if (*ret_begun && (result = admit(turns, entry->principal, error)) == 0) {
        px_queue_add(&turns->queue, entry);
        begin_job(turns, job);
    }
    wake_next(turns);
    pthread_mutex_unlock(&turns->lock);
    return result;
}

struct px_turn_job *px_turns_next(struct px_turns *turns)
{
    struct px_queue_entry *next;
    pthread_mutex_lock(&turns->lock);
    for (;;) {
        next = px_queue_next(&turns->queue);
        bool is_job = next && ((struct px_turn_waiter *)next)->changed == &turns->jobs;
        if (is_job && (turns->closed || count_free(turns)))
            break;
        sleep_for_turn(turns, &turns->jobs, is_job);
    }
    struct px_turn_job *job = (struct px_turn_job *)next;
    begin_job(turns, job);
    wake_next(turns);
    pthread_mutex_unlock(&turns->lock);
    return job;
}

void px_turn_job_end(struct px_turns *turns, struct px_turn_job *job)
{
    pthread_mutex_lock(&turns->lock);
    set_state(turns, &job->turn, PX_TURN_OUT);
    px_queue_leave(&turns->queue, &job->waiter.entry);
    wake_next(turns);
    pthread_cond_broadcast(&turns->left);
    pthread_mutex_unlock(&turns->lock);
}

size_t px_turns_free(struct px_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    size_t count = count_free(turns);
    pthread_mutex_unlock(&turns->lock);
    return count;
}

void px_turns_count(struct px_turns *turns, struct px_turn_counts *ret)
{
    pthread_mutex_lock(&turns->lock);
    measure(turns);
    *ret = (struct px_turn_counts){turns->busy, turns->asleep, turns->queue.waiting};
    pthread_mutex_unlock(&turns->lock);
}

/* ---- The end ---- */

static void wake(struct px_queue_entry *entry)
{
    pthread_cond_signal(((struct px_turn_waiter *)entry)->changed);
}

void px_turns_close(struct px_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->closed = true;
    px_queue_each(&turns->queue, wake);
    pthread_mutex_unlock(&turns->lock);
}

bool px_turns_await_end(struct px_turns *turns)
{
    pthread_mutex_lock(&turns->lock);
    if (turns->first || turns->queue.waiting)
        px_cond_wait_until(&turns->left, &turns->lock, px_now_ns() + END_WAIT_NS);
    bool ended = !turns->first && !turns->queue.waiting;
    pthread_mutex_unlock(&turns->lock);
    return ended;
}
