/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/detached.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json_text.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "serve/calls.h"
#include "serve/detached_private.h"
#include "serve/route.h"
#include "serve/run_request.h"

#define LOOK_NS (250 * PX_NS_PER_MS)  /* interval of checks while a client waits */
#define REST_NS (5000 * PX_NS_PER_MS) /* interval of checks for executions that are too old */

/* ---- Lifetime ---- */

void px_detached_drop(struct px_detached *gone)
{
    for (struct px_detached *detached = gone, *after; detached; detached = after) {
        after = detached->next;
        px_execution_free(detached->execution);
        px_event_log_done(&detached->log);
        px_buffer_done(&detached->held[0]);
        px_buffer_done(&detached->held[1]);
        px_body_release(&detached->carrier);
        pthread_mutex_destroy(&detached->carrier.lock);
        free(detached->carrier.session);
        free(detached->carrier.session_key);
        free(detached->carrier.packages);
        free(detached->result);
        free(detached->problem);
        free(detached->content);
        free(detached);
    }
}

/* Releases a reference. If it was the last one, puts the execution in front of `gone`. The caller holds the
 * table's lock. */
static struct px_detached *unhold(struct px_detached *detached, struct px_detached *gone)
{
    if (--detached->references)
        return gone;
    detached->next = gone;
    return detached;
}

void px_detached_release(struct px_detached *detached)
{
    struct px_detached_table *table = detached->table;
    pthread_mutex_lock(&table->lock);
    struct px_detached *gone = unhold(detached, NULL);
    pthread_mutex_unlock(&table->lock);
    px_detached_drop(gone);
}

/* The caller holds the table's lock. */
static struct px_detached *take_out(struct px_detached **at, struct px_detached *gone)
{
    struct px_detached *detached = *at;
    *at = detached->next;
    return unhold(detached, gone);
}

/* Finds the oldest execution of this principal that has ended. */
static struct px_detached **find_oldest(struct px_detached_table *table, const struct px_principal *principal,
                                        const struct px_detached *but)
{
    struct px_detached **oldest = NULL;
    for (struct px_detached **at = &table->list; *at; at = &(*at)->next)
        if (*at != but && (*at)->carrier.principal == principal && (*at)->state == PX_DETACHED_ENDED)
            oldest = at;
    return oldest;
}

struct load {
    size_t count;
    long bytes;
};

static struct load load_of(const struct px_detached_table *table, const struct px_principal *principal)
{
    struct load load = {0, 0};
    for (const struct px_detached *at = table->list; at; at = at->next)
        if (at->carrier.principal == principal) {
            load.count++;
            load.bytes += at->kept_bytes;
        }
    return load;
}

/* Makes room for one more execution of this principal, or for its memory. Returns false when all are still
 * running. The caller holds the table's lock. */
static bool make_room(struct px_detached_table *table, const struct px_principal *principal,
                      const struct px_detached *but, size_t most, struct px_detached **gone)
{
    struct load load = load_of(table, principal);
    while (load.count > most || load.bytes > PX_EXECUTIONS_KEPT_MAX) {
        struct px_detached **oldest = find_oldest(table, principal, but);
        if (!oldest)
            return load.count <= most;
        load.count--;
        load.bytes -= (*oldest)->kept_bytes;
        *gone = take_out(oldest, *gone);
    }
    return true;
}

static void forget_old(struct px_detached_table *table)
{
    struct px_detached *gone = NULL;
    int64_t ttl_ns = table->server->options->execution_ttl_ms * PX_NS_PER_MS, now = px_now_ns();
    pthread_mutex_lock(&table->lock);
    for (struct px_detached **at = &table->list; *at;)
        if ((*at)->state == PX_DETACHED_ENDED && now - (*at)->ended_ns >= ttl_ns)
            gone = take_out(at, gone);
        else
            at = &(*at)->next;
    pthread_mutex_unlock(&table->lock);
    px_detached_drop(gone);
}

static void *keep(void *argument)
{
    struct px_detached_table *table = argument;
    pthread_mutex_lock(&table->lock);
    while (!table->stopping) {
        px_cond_wait_until(&table->changed, &table->lock, px_now_ns() + (table->waiters ? LOOK_NS : REST_NS));
        pthread_mutex_unlock(&table->lock);
        px_detached_answer_waiters(table);
        px_detached_keep_alive(table);
        forget_old(table);
        pthread_mutex_lock(&table->lock);
    }
    pthread_mutex_unlock(&table->lock);
    return NULL;
}

/* Copies the characters of the host's name that an id may have. */
static void name_node(struct px_detached_table *table)
{
    char name[64] = "";
    size_t length = 0;
    if (table->server->options->node)
        snprintf(name, sizeof name, "%s", table->server->options->node);
    else
        gethostname(name, sizeof name - 1);
    for (const char *at = name; *at; at++)
        if (isalnum((unsigned char)*at) || *at == '-' || *at == '_' || *at == '.')
            table->node[length++] = *at;
    if (!length)
        snprintf(table->node, sizeof table->node, "node");
}

static void release(struct px_detached_table *table)
{
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

int px_detached_open(struct px_server *server, struct px_detached_table **ret, pyexec_error *error)
{
    struct px_detached_table *table = calloc(1, sizeof *table);
    if (!table)
        return px_error_oom(error);
    table->server = server;
    pthread_mutex_init(&table->lock, NULL);
    px_cond_init(&table->changed);
    name_node(table);
    int failed = px_thread_create(&table->keeper, keep, table);
    if (failed) {
        release(table);
        return px_error_errno(error, PYEXEC_INTERNAL, failed, "can't keep executions");
    }
    *ret = table;
    return 0;
}

void px_detached_cancel_all(struct px_detached_table *table)
{
    pthread_mutex_lock(&table->lock);
    for (struct px_detached *at = table->list; at; at = at->next)
        px_http_request_cancel(&at->carrier);
    pthread_mutex_unlock(&table->lock);
}

void px_detached_close(struct px_detached_table *table)
{
    if (!table)
        return;
    struct px_detached *gone = NULL;
    pthread_mutex_lock(&table->lock);
    table->stopping = true;
    pthread_cond_signal(&table->changed);
    pthread_mutex_unlock(&table->lock);
    pthread_join(table->keeper, NULL);
    px_detached_answer_waiters(table);
    pthread_mutex_lock(&table->lock);
    while (table->list)
        gone = take_out(&table->list, gone);
    pthread_mutex_unlock(&table->lock);
    px_detached_drop(gone);
    release(table);
}

/* ---- Events ---- */

void px_detached_emit(struct px_detached *detached, const char *name, const char *json, bool last)
{
    struct px_detached_table *table = detached->table;
    detached->kept_bytes += px_event_log_add(&detached->log, name, json, last);
    pthread_mutex_lock(&table->lock);
    px_detached_wake(table, detached);
    if (table->waiters)
        pthread_cond_signal(&table->changed);
    pthread_mutex_unlock(&table->lock);
}

static void emit(struct px_detached *detached, const char *name, const char *json)
{
    pthread_mutex_lock(&detached->execution->emit);
    px_detached_emit(detached, name, json, false);
    pthread_mutex_unlock(&detached->execution->emit);
}

static void emit_text(struct px_detached *detached, int which, const char *bytes, size_t length)
{
    px_auto_buffer struct px_buffer text = {0}, json = {0};
    px_utf8_repair(&text, bytes, length);
    px_buffer_printf(&json, "{\"seq\":%llu,\"text\":", (unsigned long long)detached->seq++);
    px_json_text_string(&json, px_buffer_string(&text), text.length);
    px_buffer_add_byte(&json, '}');
    emit(detached, which == 1 ? "stdout" : "stderr", px_buffer_string(&json));
}

/* A pyexec_output_fn. Shows only whole characters. */
static int show_output(void *closure, int which, const char *bytes, size_t length)
{
    struct px_detached *detached = closure;
    struct px_buffer *held = &detached->held[which - 1];
    px_buffer_add(held, bytes, length);
    size_t whole = px_buffer_ok(held)
                       ? px_buffer_length(held) - px_utf8_incomplete_tail(px_buffer_shown(held), px_buffer_length(held))
                       : 0;
    if (whole)
        emit_text(detached, which, held->data, whole);
    px_buffer_consume(held, whole);
    return 0;
}

/* A pyexec_display_fn. */
static int show_display(void *closure, const char *json, size_t length)
{
    (void)length;
    emit(closure, "display", json);
    return 0;
}

/* ---- The run ---- */

static void set_state(struct px_detached *detached, enum px_detached_state state)
{
    struct px_detached_table *table = detached->table;
    struct px_detached *gone = NULL;
    pthread_mutex_lock(&table->lock);
    detached->state = state;
    if (state == PX_DETACHED_RUNNING) {
        detached->started = time(NULL);
    } else {
        detached->ended = time(NULL);
        detached->ended_ns = px_now_ns();
        make_room(table, detached->carrier.principal, detached, SIZE_MAX, &gone);
        pthread_cond_signal(&table->changed);
    }
    pthread_mutex_unlock(&table->lock);
    px_detached_drop(gone);
}

static void finish(struct px_detached *detached, pyexec_result *ended, const pyexec_error *failure)
{
    const char *result = ended ? pyexec_result_json(ended) : NULL;
    px_execution_end(detached->execution);
    for (int which = 1; which <= 2; which++)
        if (detached->held[which - 1].length)
            emit_text(detached, which, detached->held[which - 1].data, detached->held[which - 1].length);
    if (result)
        detached->result = strdup(result);
    else
        detached->problem =
            px_problem_json(px_status_of(failure), pyexec_code_name(failure->code), failure->message, failure->hint);
    if (!result)
        detached->table->server->metrics.errors[failure->code]++;
    const char *text = result ? detached->result : detached->problem;
    if (text)
        detached->kept_bytes += (long)strlen(text);
    if (detached->for_model)
        detached->content = px_mcp_content_text(ended, failure);
    if (detached->content)
        detached->kept_bytes += (long)strlen(detached->content);
    detached->failed = !ended || pyexec_result_status(ended) != PYEXEC_STATUS_OK;
    set_state(detached, PX_DETACHED_ENDED);
    pthread_mutex_lock(&detached->execution->emit);
    px_detached_emit(detached, result ? "result" : "error", text ? text : "{}", true);
    pthread_mutex_unlock(&detached->execution->emit);
}

/* Runs in the schedule of runs. */
static void serve(struct px_job *job)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    struct px_detached *detached = (struct px_detached *)job;
    set_state(detached, PX_DETACHED_RUNNING);
    if (detached->carrier.cancelled && detached->table->server->draining) {
        px_error_set(&error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    } else {
        pyexec_request_set_output(detached->run, show_output, detached);
        pyexec_request_set_display(detached->run, show_display, detached);
        px_run_request(&detached->carrier, detached->run, &result, &error);
    }
    px_http_request_end_turn(&detached->carrier); /* before anybody can read that it has ended */
    finish(detached, result, &error);
    pyexec_result_free(result);
    pyexec_request_free(detached->run);
    px_body_release(&detached->carrier);
    px_detached_release(detached);
}

/* ---- Its beginning ---- */

bool px_detached_cancel(struct px_detached *detached)
{
    struct px_detached_table *table = detached->table;
    pthread_mutex_lock(&table->lock);
    bool done = detached->state != PX_DETACHED_ENDED && !detached->cancelled;
    detached->cancelled |= done;
    pthread_mutex_unlock(&table->lock);
    px_http_request_cancel(&detached->carrier);
    return done;
}

/* `carrier` gets what a run needs of its request, because the request itself is answered and freed. */
static struct px_detached *make(struct px_http_request *request, struct px_execution *execution, pyexec_request *run)
{
    struct px_detached_table *table = request->server->detached;
    struct px_detached *detached = calloc(1, sizeof *detached);
    char random[2][17];
    char *names[2] = {px_random_name(""), px_random_name("")};
    snprintf(random[0], sizeof random[0], "%s", names[0] ? names[0] : "");
    snprintf(random[1], sizeof random[1], "%s", names[1] ? names[1] : "");
    free(names[0]);
    free(names[1]);
    if (!detached || !*random[0] || !*random[1]) {
        free(detached);
        return NULL;
    }
    struct px_http_request *carrier = &detached->carrier;
    *detached = (struct px_detached){.table = table, .execution = execution, .references = 1, .run = run};
    detached->created = time(NULL);
    snprintf(detached->id, sizeof detached->id, "e-%s-%s%s", table->node, random[0], random[1]);
    px_event_log_init(&detached->log);
    pthread_mutex_init(&carrier->lock, NULL);
    carrier->server = request->server;
    carrier->principal = request->principal;
    carrier->references = 1;
    carrier->body_fd = -1;
    memcpy(carrier->id, request->id, sizeof carrier->id);
    carrier->caller = request->caller;
    memcpy(carrier->message, request->message, sizeof carrier->message);
    memcpy(carrier->span, request->span, sizeof carrier->span);
    memcpy(carrier->tracestate, request->tracestate, sizeof carrier->tracestate);
    carrier->route = request->route;
    memcpy(carrier->method, request->method, sizeof carrier->method);
    memcpy(carrier->code_hash, request->code_hash, sizeof carrier->code_hash);
    carrier->session = TAKE_PTR(request->session);
    carrier->session_key = TAKE_PTR(request->session_key);
    carrier->packages = TAKE_PTR(request->packages);
    carrier->reserved = request->reserved;
    request->reserved = 0;
    execution->client = NULL;
    execution->detached = detached;
    return detached;
}

static int refuse_full(size_t most, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "%zu detached executions of this caller are in progress", most);
    error->retry_after_ms = 1000;
    return px_error_hint(error, "Wait until one has ended, cancel one, or ask the operator of the server to raise "
                                "[host] max_executions.");
}

static int submit(struct px_detached *detached, pyexec_error *error)
{
    struct px_detached_table *table = detached->table;
    struct px_server *server = table->server;
    struct px_detached *gone = NULL;
    size_t most = (size_t)server->options->max_executions;
    if (server->draining)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    pthread_mutex_lock(&table->lock);
    bool room = make_room(table, detached->carrier.principal, NULL, most - 1, &gone);
    if (room) {
        detached->next = table->list;
        table->list = detached;
        detached->references++;
    }
    pthread_mutex_unlock(&table->lock);
    px_detached_drop(gone);
    if (!room)
        return refuse_full(most, error);
    detached->carrier.job =
        (struct px_job){.principal = detached->carrier.principal, .run = serve, .session = detached->carrier.session};
    if (px_schedule_submit(server->runs, &detached->carrier.job, error) == 0)
        return 0;
    pthread_mutex_lock(&table->lock);
    struct px_detached **at = &table->list;
    while (*at && *at != detached)
        at = &(*at)->next;
    if (*at)
        take_out(at, NULL); /* the job still has a reference */
    pthread_mutex_unlock(&table->lock);
    return -1;
}

int px_detached_begin(struct px_http_request *request, struct px_execution *execution, pyexec_request *run,
                      bool for_model, char *ret_id, pyexec_error *error)
{
    struct px_detached *detached = make(request, execution, run);
    if (!detached) {
        pyexec_request_free(run);
        px_execution_free(execution);
        return px_error_oom(error);
    }
    detached->for_model = for_model;
    memcpy(ret_id, detached->id, sizeof detached->id); /* now, because it may end and be dropped at any moment */
    if (submit(detached, error) == 0)
        return 0;
    pyexec_request_free(run);
    px_detached_release(detached);
    return -1;
}

void px_detached_start(struct px_http_request *request, struct px_execution *execution, pyexec_request *run)
{
    pyexec_error error;
    char id[PX_MCP_EXECUTION_ID];
    px_auto_buffer struct px_buffer session = {0}, text = {0};
    px_json_text_string(&session, request->session, request->session ? strlen(request->session) : 0);
    if (px_detached_begin(request, execution, run, false, id, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    px_buffer_printf(&text, "{\"execution_id\":\"%s\",\"session_id\":", id);
    px_buffer_add_string(&text, px_buffer_ok(&session) ? px_buffer_string(&session) : "null");
    px_buffer_add_byte(&text, '}');
    px_respond_json(request, MHD_HTTP_ACCEPTED, px_buffer_take(&text));
}

struct px_detached *px_detached_find(struct px_detached_table *table, const struct px_principal *principal,
                                     const char *id)
{
    pthread_mutex_lock(&table->lock);
    struct px_detached *at = table->list;
    while (at && (at->carrier.principal != principal || strcmp(at->id, id) != 0))
        at = at->next;
    if (at)
        at->references++;
    pthread_mutex_unlock(&table->lock);
    return at;
}

void px_detached_count(struct px_detached_table *table, size_t ret[PX_DETACHED_STATES])
{
    memset(ret, 0, PX_DETACHED_STATES * sizeof *ret);
    pthread_mutex_lock(&table->lock);
    for (const struct px_detached *at = table->list; at; at = at->next)
        ret[at->state]++;
    pthread_mutex_unlock(&table->lock);
}
