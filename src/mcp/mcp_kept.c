/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/mcp_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/retry.h"

#define TTL_MS 3600000 /* the default of [host] execution_ttl */
#define MOST 1000      /* the default of [host] max_executions */

struct px_mcp_kept_run {
    struct px_task task; /* first */
    struct px_mcp_kept *kept;
    char id[PX_MCP_EXECUTION_ID];
    char *key; /* its session, or NULL */
    /* The lock protects the members below. */
    struct px_mcp_kept_run *next;
    unsigned references;      /* held by the list and by the task */
    struct px_mcp_call *call; /* NULL: it has ended */
    bool running, cancelled, failed;
    time_t times[3];
    int64_t ended_ns;
    char *content, *result, *problem;
    size_t bytes;
};

static void drop(struct px_mcp_kept_run *gone)
{
    for (struct px_mcp_kept_run *run = gone, *after; run; run = after) {
        after = run->next;
        px_mcp_call_free(run->call);
        free(run->key);
        free(run->content);
        free(run->result);
        free(run->problem);
        free(run);
    }
}

/* Releases a reference. If it was the last one, puts the run in front of `gone`. The caller holds the lock. */
static struct px_mcp_kept_run *unhold(struct px_mcp_kept_run *run, struct px_mcp_kept_run *gone)
{
    if (--run->references)
        return gone;
    run->next = gone;
    return run;
}

/* The caller holds the lock. */
static struct px_mcp_kept_run *take_out(struct px_mcp_kept_run **at, struct px_mcp_kept_run *gone)
{
    struct px_mcp_kept_run *run = *at;
    *at = run->next;
    return unhold(run, gone);
}

/* Forgets runs that have ended too long ago, and the oldest that have ended while there are more than `most`, or too many
 * bytes. Returns false when more than `most` are in progress. The caller holds the lock. */
static bool make_room(struct px_mcp_kept *kept, size_t most, struct px_mcp_kept_run **gone)
{
    int64_t too_old = px_now_ns() - kept->executions.ttl_ms * PX_NS_PER_MS;
    for (;;) {
        struct px_mcp_kept_run **oldest = NULL;
        size_t count = 0, bytes = 0;
        for (struct px_mcp_kept_run **at = &kept->first; *at; at = &(*at)->next) {
            count++;
            bytes += (*at)->bytes;
            if (!(*at)->call)
                oldest = at;
        }
        bool full = count > most || bytes > PX_EXECUTIONS_KEPT_MAX;
        if (!oldest || (!full && (*oldest)->ended_ns > too_old))
            return count <= most;
        *gone = take_out(oldest, *gone);
    }
}

/* ---- The run ---- */

static char *problem_of(const pyexec_error *error)
{
    return px_json_take_text(json_pack("{s:s, s:s, s:s}", "title", error->message, "code",
                                       pyexec_code_name(error->code), "hint", error->hint));
}

static void end(struct px_mcp_kept_run *run, pyexec_result *result, const pyexec_error *error)
{
    struct px_mcp_kept *kept = run->kept;
    struct px_mcp_kept_run *gone = NULL;
    const char *text = result ? pyexec_result_json(result) : NULL;
    char *copy = text ? strdup(text) : NULL;
    char *problem = result ? NULL : problem_of(error), *content = px_mcp_content_text(result, error);
    pthread_mutex_lock(&kept->lock);
    struct px_mcp_call *call = run->call;
    run->call = NULL;
    run->result = copy;
    run->problem = problem;
    run->content = content;
    run->failed = !copy || pyexec_result_status(result) != PYEXEC_STATUS_OK;
    run->bytes = (copy ? strlen(copy) : 0) + (content ? strlen(content) : 0);
    run->times[2] = time(NULL);
    run->ended_ns = px_now_ns();
    make_room(kept, kept->most, &gone);
    pthread_cond_broadcast(&kept->changed);
    pthread_mutex_unlock(&kept->lock);
    px_mcp_call_free(call);
    drop(gone);
}

static void serve_run(struct px_task *task)
{
    struct px_mcp_kept_run *run = (struct px_mcp_kept_run *)task;
    pyexec_error error;
    pyexec_result *result = NULL;
    pthread_mutex_lock(&run->kept->lock);
    struct px_mcp_call *call = run->call;
    run->running = true;
    run->times[1] = time(NULL);
    pthread_mutex_unlock(&run->kept->lock);
    px_mcp_run(call, run->key, &result, &error);
    px_task_arrived(task); /* a refused run does not wait for others */
    end(run, result, &error);
    pyexec_result_free(result);
}

static void cancel_run(struct px_task *task)
{
    struct px_mcp_kept_run *run = (struct px_mcp_kept_run *)task;
    pthread_mutex_lock(&run->kept->lock);
    if (run->call)
        px_mcp_cancel(run->call);
    pthread_mutex_unlock(&run->kept->lock);
}

static void free_run(struct px_task *task)
{
    struct px_mcp_kept_run *run = (struct px_mcp_kept_run *)task;
    struct px_mcp_kept *kept = run->kept;
    pthread_mutex_lock(&kept->lock);
    struct px_mcp_kept_run *gone = unhold(run, NULL);
    pthread_mutex_unlock(&kept->lock);
    drop(gone);
}

/* ---- Its beginning ---- */

static struct px_mcp_kept_run *make(struct px_mcp_kept *kept, struct px_mcp_call *call, const char *key)
{
    unsigned char random[16];
    struct px_mcp_call *own = px_mcp_take_run(call);
    struct px_mcp_kept_run *run = own ? calloc(1, sizeof *run) : NULL;
    if (!run) {
        px_mcp_call_free(own);
        return NULL;
    }
    *run = (struct px_mcp_kept_run){.task = {.run = serve_run, .cancel = cancel_run, .free = free_run},
                                    .kept = kept,
                                    .key = key ? strdup(key) : NULL,
                                    .references = 1,
                                    .call = own,
                                    .times = {time(NULL)}};
    run->task.in_order = key;
    pyexec_request_set_arrived(own->request, px_task_arrived, &run->task);
    bool good = (run->key || !key) && px_random_bytes(random, sizeof random) == 0;
    int length = snprintf(run->id, sizeof run->id, "e-");
    for (size_t i = 0; i < sizeof random; i++, length += 2)
        snprintf(run->id + length, sizeof run->id - (size_t)length, "%02x", good ? random[i] : 0);
    if (good)
        return run;
    drop(run);
    return NULL;
}

static int refuse_full(const struct px_mcp_kept *kept, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "%zu detached executions are in progress", kept->most);
    return px_error_hint(error, "Wait until one has ended, cancel one, or ask the operator of pyexec to raise "
                                "[host] max_executions.");
}

int px_mcp_kept_start(struct px_mcp_kept *kept, struct px_mcp_call *call, const char *key,
                      char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error)
{
    struct px_mcp_kept_run *gone = NULL, *run = make(kept, call, key);
    if (!run)
        return px_error_oom(error);
    memcpy(ret_id, run->id, sizeof run->id);
    pthread_mutex_lock(&kept->lock);
    bool room = make_room(kept, kept->most - 1, &gone);
    if (room) {
        run->next = kept->first;
        kept->first = run;
        run->references++;
    }
    pthread_mutex_unlock(&kept->lock);
    drop(gone);
    int status = room ? px_tasks_start(kept->tasks, &run->task, error) : refuse_full(kept, error);
    if (status == 0)
        return 0;
    gone = NULL;
    pthread_mutex_lock(&kept->lock);
    for (struct px_mcp_kept_run **at = &kept->first; *at; at = &(*at)->next)
        if (*at == run) {
            gone = take_out(at, gone);
            break;
        }
    gone = unhold(run, gone);
    pthread_mutex_unlock(&kept->lock);
    drop(gone);
    return -1;
}

/* ---- Clients ---- */

/* The caller holds the lock. */
static struct px_mcp_kept_run *find(struct px_mcp_kept *kept, const char *id)
{
    struct px_mcp_kept_run *run = kept->first;
    while (run && strcmp(run->id, id) != 0)
        run = run->next;
    return run;
}

bool px_mcp_kept_show(struct px_mcp_kept *kept, struct px_mcp_call *call, const char *id, px_mcp_show_fn *show)
{
    px_auto_buffer struct px_buffer whole = {0};
    struct px_mcp_kept_run *gone = NULL;
    pthread_mutex_lock(&kept->lock);
    make_room(kept, kept->most, &gone);
    struct px_mcp_kept_run *run = find(kept, id);
    if (run) {
        const char *state = !run->call ? "ended" : run->running ? "running" : "waiting";
        px_mcp_execution_write(&whole, run->id, run->key, state, run->times);
        px_buffer_add_string(&whole, ",\"result\":");
        px_buffer_add_string(&whole, run->result ? run->result : "null");
        px_buffer_add_string(&whole, ",\"error\":");
        px_buffer_add_string(&whole, run->problem ? run->problem : "null");
        px_buffer_add_byte(&whole, '}');
        struct px_mcp_execution execution = {.id = run->id,
                                             .session = run->key,
                                             .state = state,
                                             .ended = !run->call,
                                             .cancelled = run->cancelled,
                                             .failed = run->failed,
                                             .whole = px_buffer_ok(&whole) ? px_buffer_string(&whole) : NULL,
                                             .content = run->content,
                                             .result = run->result};
        memcpy(execution.times, run->times, sizeof execution.times);
        show(call, &execution);
    }
    pthread_mutex_unlock(&kept->lock);
    drop(gone);
    return run;
}

bool px_mcp_kept_cancel(struct px_mcp_kept *kept, const char *id)
{
    pthread_mutex_lock(&kept->lock);
    struct px_mcp_kept_run *run = find(kept, id);
    bool done = run && run->call && !run->cancelled;
    if (done) {
        run->cancelled = true;
        px_mcp_cancel(run->call);
    }
    pthread_mutex_unlock(&kept->lock);
    return done;
}

void px_mcp_kept_wait(struct px_mcp_kept *kept, const char *id, int64_t wait_ms)
{
    const struct px_mcp_kept_run *run;
    int64_t until = px_now_ns() + wait_ms * PX_NS_PER_MS;
    pthread_mutex_lock(&kept->lock);
    while (!kept->stopping && (run = find(kept, id)) && run->call && (wait_ms < 0 || px_now_ns() < until))
        if (wait_ms < 0)
            pthread_cond_wait(&kept->changed, &kept->lock);
        else
            px_cond_wait_until(&kept->changed, &kept->lock, until);
    pthread_mutex_unlock(&kept->lock);
}

/* ---- Lifetime ---- */

void px_mcp_kept_init(struct px_mcp_kept *kept, struct px_tasks *tasks, const struct px_host *host)
{
    *kept = (struct px_mcp_kept){.tasks = tasks, .most = host ? (size_t)host->max_executions : MOST};
    kept->executions.ttl_ms = host ? host->execution_ttl_ms : TTL_MS;
    pthread_mutex_init(&kept->lock, NULL);
    px_cond_init(&kept->changed);
}

void px_mcp_kept_stop(struct px_mcp_kept *kept)
{
    pthread_mutex_lock(&kept->lock);
    kept->stopping = true;
    pthread_cond_broadcast(&kept->changed);
    pthread_mutex_unlock(&kept->lock);
}

void px_mcp_kept_done(struct px_mcp_kept *kept)
{
    struct px_mcp_kept_run *gone = NULL;
    while (kept->first)
        gone = take_out(&kept->first, gone);
    drop(gone);
    pthread_cond_destroy(&kept->changed);
    pthread_mutex_destroy(&kept->lock);
}
