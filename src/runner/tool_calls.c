/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tool_calls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "base/thread.h"
#include "result/display_claims.h"
#include "runner/tool_answer.h"
#include "runner/tool_call.h"

struct queue {
    pyexec_tool_call *first, *last;
    size_t count;
};

struct px_tool_calls {
    pthread_mutex_t lock;
    pthread_cond_t queued; /* signalled when a callback must be called, or the run has ended */
    size_t references;     /* held by the run, its calls and its threads */
    bool ended;
    int wake;
    struct px_tools *first_owner; /* a new thread belongs to this owner until it calls its first tool */
    struct queue callbacks, answers;
    size_t threads, idle;
    size_t waiting; /* calls without an answer */
    const char *broken;
    /* Only the run's thread uses these. */
    const struct px_tool_list *tools;
    const struct px_policy *policy;
    const pyexec_request *request;
    uint64_t random, count;
    pyexec_tool_call *all;
    size_t unanswered;         /* `waiting` at the last time the run read it */
    pyexec_tool_call *sending; /* its answer has been sent in part */
    size_t sent;
    bool sleeps;
    struct px_tool_clock clock;
};

static void append(struct queue *queue, pyexec_tool_call *call)
{
    call->next_queued = NULL;
    if (queue->count++)
        queue->last->next_queued = call;
    else
        queue->first = call;
    queue->last = call;
}

static pyexec_tool_call *take_first(struct queue *queue)
{
    pyexec_tool_call *call = queue->count ? queue->first : NULL;
    if (call) {
        queue->first = call->next_queued;
        queue->count--;
    }
    return call;
}

/* Takes the call out of the queue, if it is in it. */
static void take_out(struct queue *queue, const pyexec_tool_call *call)
{
    struct queue rest = {0};
    for (pyexec_tool_call *each; (each = take_first(queue));)
        if (each != call)
            append(&rest, each);
    *queue = rest;
}

/* ---- Lifetime ---- */

struct px_tool_calls *px_tool_calls_new(const struct px_tool_list *tools, const struct px_policy *policy,
                                        const pyexec_request *request, pyexec_error *error)
{
    struct px_tool_calls *calls = calloc(1, sizeof *calls);
    if (!calls || px_random_bytes(&calls->random, sizeof calls->random) < 0) {
        free(calls);
        px_error_oom(error);
        return NULL;
    }
    pthread_mutex_init(&calls->lock, NULL);
    pthread_cond_init(&calls->queued, NULL);
    calls->references = 1;
    calls->wake = request->wake;
    calls->request = request;
    calls->tools = tools;
    calls->first_owner = tools->items[0]->owner;
    calls->policy = policy;
    return calls;
}

/* The caller holds the lock; this function releases it. */
static void release(struct px_tool_calls *calls)
{
    bool last = --calls->references == 0;
    pthread_mutex_unlock(&calls->lock);
    if (!last)
        return;
    pthread_cond_destroy(&calls->queued);
    pthread_mutex_destroy(&calls->lock);
    free(calls);
}

/* The caller holds the lock. Returns true when this was the last reference and the call has been freed. */
static bool drop(pyexec_tool_call *call)
{
    if (--call->references)
        return false;
    free(call->arguments);
    free(call->text);
    free(call->trace.tracestate);
    free(call);
    return true;
}

/* The caller holds the lock; this function releases it. */
static void drop_and_release(struct px_tool_calls *calls, pyexec_tool_call *call)
{
    if (drop(call))
        release(calls);
    else
        pthread_mutex_unlock(&calls->lock);
}

void px_tool_calls_end(struct px_tool_calls *calls)
{
    if (!calls)
        return;
    pthread_mutex_lock(&calls->lock);
    calls->ended = true;
    calls->callbacks.count = calls->answers.count = 0;
    for (pyexec_tool_call *call = calls->all, *after; call; call = after) {
        after = call->next;
        call->state = GONE;
        px_trace_tool_add(calls->request->trace, &call->trace);
        if (drop(call))
            calls->references--;
    }
    pthread_cond_broadcast(&calls->queued);
    release(calls);
}

/* ---- Answers, from any thread ---- */

static int not_found(pyexec_error *error)
{
    px_error_set(error, PYEXEC_CALL_NOT_FOUND, "no such tool call waits for an answer");
    return px_error_hint(error, "The call was already answered, or its script no longer waits for it: "
                                "tool_timeout_ms has passed, or the script has ended.");
}

/* Takes ownership of `text`, which is JSON. `failure`: error.type of the call's span, or NULL. */
static int give(pyexec_tool_call *call, enum px_tool_answer kind, char *text, const char *failure, pyexec_error *error)
{
    struct px_tool_calls *calls = call->calls;
    if (!text)
        return px_error_oom(error);
    pthread_mutex_lock(&calls->lock);
    bool waits = call->state == WAITING;
    if (waits) {
        call->state = ANSWERED;
        call->kind = kind;
        px_trace_tool_end(&call->trace, failure);
        call->text = text;
        call->text_length = strlen(text);
        calls->waiting--;
        append(&calls->answers, call);
        px_wake(calls->wake);
    }
    pthread_mutex_unlock(&calls->lock);
    if (waits)
        return 0;
    free(text);
    return not_found(error);
}

int pyexec_tool_call_answer(pyexec_tool_call *call, const char *result_json, size_t length, pyexec_error *error)
{
    return px_tool_answer_check(result_json, length, error) < 0
               ? -1
               : give(call, PX_TOOL_RESULT, strndup(result_json, length), NULL, error);
}

int pyexec_tool_call_fail(pyexec_tool_call *call, const char *message, const char *data_json, pyexec_error *error)
{
    return data_json && px_tool_answer_check(data_json, strlen(data_json), error) < 0
               ? -1
               : give(call, PX_TOOL_ERROR, px_tool_answer_error(message, data_json), "tool_error", error);
}

static int deny(pyexec_tool_call *call, const char *reason, const char *hint, pyexec_error *error)
{
    return give(call, PX_TOOL_DENIED, px_tool_answer_denial(reason, hint), "denied", error);
}

int pyexec_tool_call_deny(pyexec_tool_call *call, const char *reason, pyexec_error *error)
{
    return deny(call, reason, "The caller refused this call. Continue without it, or ask for something else.", error);
}

int pyexec_tool_call_waits(pyexec_tool_call *call)
{
    pthread_mutex_lock(&call->calls->lock);
    bool waits = call->state == WAITING;
    pthread_mutex_unlock(&call->calls->lock);
    return waits;
}

void pyexec_tool_call_free(pyexec_tool_call *call)
{
    pyexec_error ignored;
    if (!call)
        return;
    struct px_tool_calls *calls = call->calls;
    pthread_mutex_lock(&calls->lock);
    bool last = --call->handles == 0;
    pthread_mutex_unlock(&calls->lock);
    if (last && pyexec_tool_call_waits(call))
        pyexec_tool_call_fail(call, "the host gave no answer", NULL, &ignored);
    pthread_mutex_lock(&calls->lock);
    drop_and_release(calls, call);
}

/* ---- Callers' threads ---- */

/* Returns the tools whose function gets the call next. */
static struct px_tools *next_owner(const pyexec_tool_call *call)
{
    return call->approver ? call->approver : call->owner;
}

/* Releases the lock during the callback, and returns with the lock held. */
static void call_back(struct px_tool_calls *calls, pyexec_tool_call *call)
{
    uint64_t room = PX_JSON_ROOM;
    struct px_tools *approver = call->approver; /* the callback frees the call */
    pyexec_tool_fn callback = approver ? approver->approver : call->callback;
    void *userdata = approver ? approver->approver_data : call->userdata;
    pthread_mutex_unlock(&calls->lock);
    bool good = px_json_claim_ok(call->arguments, call->length, true, &room);
    const char *why = good ? NULL : errno == ENOMEM ? px_no_memory : "arguments of a tool call that are not JSON";
    if (good)
        callback(userdata, call);
    pthread_mutex_lock(&calls->lock);
    if (good)
        return;
    if (!calls->ended) {
        calls->broken = why;
        px_wake(calls->wake);
    }
    if (drop(call))
        calls->references--;
}

static void *serve(void *argument)
{
    struct px_tool_calls *calls = argument;
    struct px_tools *owner = calls->first_owner;
    pthread_mutex_lock(&calls->lock);
    while (!calls->ended) {
        pyexec_tool_call *call = take_first(&calls->callbacks);
        if (call) {
            /* This comes before the lock is released, because from here on the owner of the tool waits for this
             * thread. */
            px_tools_enter(next_owner(call));
            px_tools_leave(owner);
            owner = next_owner(call);
            call->references++;
            call_back(calls, call);
        } else {
            calls->idle++;
            pthread_cond_wait(&calls->queued, &calls->lock);
            calls->idle--;
        }
    }
    release(calls);
    px_tools_end_thread(owner);
    return NULL;
}

/* Starts a thread for callbacks. The run does not wait for its threads: a thread is joined by the owner of the tool that
 * it called last. The caller holds the lock. */
static int start_thread(struct px_tool_calls *calls)
{
    pthread_t thread;
    px_tools_enter(calls->first_owner);
    int failed = px_thread_create(&thread, serve, calls);
    if (failed) {
        px_tools_leave(calls->first_owner);
        return -1;
    }
    calls->references++;
    calls->threads++;
    return 0;
}

/* ---- The run's thread ---- */

static pyexec_tool_call *make_call(struct px_tool_calls *calls, const struct px_tool *tool, struct px_tool_claim *claim)
{
    pyexec_tool_call *call = calloc(1, sizeof *call);
    size_t length = claim->arguments.length;
    char *arguments = call ? px_buffer_take(&claim->arguments) : NULL;
    if (!arguments) {
        free(call);
        return NULL;
    }
    *call = (pyexec_tool_call){.calls = calls,
                               .references = 1,
                               .handles = 1,
                               .number = claim->number,
                               .callback = tool->callback,
                               .userdata = tool->userdata,
                               .owner = tool->owner,
                               .approver = tool->approval ? calls->tools->approver : NULL,
                               .arguments = arguments,
                               .length = length,
                               .deadline_ns = INT64_MAX};
    memcpy(call->name, claim->name, sizeof call->name);
    snprintf(call->id, sizeof call->id, "c-%016" PRIx64 "-%" PRIu64, calls->random, calls->count);
    if (calls->policy->tool_timeout_ms != PX_NONE)
        call->deadline_ns = px_now_ns() + calls->policy->tool_timeout_ms * PX_NS_PER_MS;
    px_trace_tool_begin(calls->request, &call->trace, call->name, call->id);
    call->next = calls->all;
    calls->all = call;
    return call;
}

/* Puts the call into the queue, from which a thread takes it and calls its function. Returns false when no thread could be
 * started. The call then stays in the queue until another thread is free. The caller holds the lock. */
static bool queue_callback(struct px_tool_calls *calls, pyexec_tool_call *call)
{
    /* The number of threads is limited. If a script gives up its calls and makes new ones, the new calls wait
     * until the callbacks of the old ones return. */
    bool has_thread =
        calls->idle > calls->callbacks.count || calls->threads >= PX_TOOL_CALLS_AT_ONCE || start_thread(calls) == 0;
    append(&calls->callbacks, call);
    pthread_cond_signal(&calls->queued);
    return has_thread;
}

int pyexec_tool_call_allow(pyexec_tool_call *call, pyexec_error *error)
{
    struct px_tool_calls *calls = call->calls;
    pthread_mutex_lock(&calls->lock);
    bool allows = call->state == WAITING && call->approver;
    if (allows) {
        call->approver = NULL;
        call->handles++;
        queue_callback(calls, call); /* no new thread is needed: the thread that called the approver takes it next */
    }
    pthread_mutex_unlock(&calls->lock);
    return allows ? 0 : not_found(error);
}

/* Lets a thread call the tool's function, or answers the call here. */
static void begin(struct px_tool_calls *calls, pyexec_tool_call *call, bool needs_approval)
{
    pyexec_error ignored;
    char text[200];
    int64_t most = calls->policy->max_tool_calls;
    if (calls->count > (uint64_t)most) {
        snprintf(text, sizeof text, "this execution has made max_tool_calls=%" PRId64 " calls", most);
        deny(call, text, "Make fewer calls, or raise the policy's max_tool_calls.", &ignored);
        return;
    }
    if (needs_approval && !call->approver) {
        deny(call, "the tool needs approval, and this execution has nobody who can approve a call",
             "Continue without this tool.", &ignored);
        return;
    }
    pthread_mutex_lock(&calls->lock);
    bool has_thread = queue_callback(calls, call);
    if (!has_thread)
        take_out(&calls->callbacks, call);
    pthread_mutex_unlock(&calls->lock);
    if (!has_thread)
        pyexec_tool_call_fail(call, "the host has no thread for this call; try again", NULL, &ignored);
}

static const char *take_call(struct px_tool_calls *calls, struct px_tool_claim *claim)
{
    const struct px_tool *tool = px_tool_list_find(calls->tools, claim->name);
    if (!tool)
        return "a call of a tool that it does not have";
    calls->count++;
    pthread_mutex_lock(&calls->lock);
    pyexec_tool_call *call = make_call(calls, tool, claim);
    calls->references += call != NULL;
    calls->waiting += call != NULL;
    pthread_mutex_unlock(&calls->lock);
    if (!call)
        return px_no_memory;
    begin(calls, call, tool->approval);
    return NULL;
}

/* Called when the run no longer needs the call. The caller holds the lock. */
static void forget(struct px_tool_calls *calls, struct px_tool_claims *claims, pyexec_tool_call *call)
{
    pyexec_tool_call **at = &calls->all;
    take_out(&calls->callbacks, call); /* its time limit may have answered it before a thread called its function */
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    claims->outstanding--;
    claims->bytes -= call->length;
    call->state = GONE;
    px_trace_tool_add(calls->request->trace, &call->trace);
    if (drop(call))
        calls->references--;
}

static void abandon(struct px_tool_calls *calls, struct px_tool_claims *claims, uint64_t number)
{
    pyexec_tool_call *call = calls->all;
    while (call && call->number != number)
        call = call->next;
    /* For a call that no longer exists, or whose answer is already being sent, there is nothing to do. */
    if (!call || call == calls->sending)
        return;
    pthread_mutex_lock(&calls->lock);
    take_out(&calls->answers, call);
    calls->waiting -= call->state == WAITING;
    forget(calls, claims, call);
    pthread_mutex_unlock(&calls->lock);
}

const char *px_tool_calls_take(struct px_tool_calls *calls, struct px_tool_claims *claims)
{
    const char *why = NULL;
    for (struct px_tool_claim *claim; !why && (claim = px_tool_claims_next(claims));) {
        if (claim->abandons)
            abandon(calls, claims, claim->number);
        else
            why = take_call(calls, claim);
        px_tool_claim_free(claim);
    }
    return why;
}

/* ---- Sending ---- */

/* Sends one packet of the answer: the first has its head, and each has as much text as fits. Returns -1 when the
 * channel is full or closed. */
static int send_packet(struct px_tool_calls *calls, int channel)
{
    const pyexec_tool_call *call = calls->sending;
    struct px_buffer px_auto_buffer packet = {0};
    bool first = calls->sent == 0;
    if (first) {
        char head[sizeof call->number + 1 + sizeof(uint32_t)];
        uint32_t length = (uint32_t)call->text_length;
        memcpy(head, &call->number, sizeof call->number);
        head[sizeof call->number] = (char)call->kind;
        memcpy(head + sizeof call->number + 1, &length, sizeof length);
        px_wire_add(&packet, PX_RUN_TOOL_ANSWER, head, sizeof head);
    }
    size_t room = PX_PACKET_MAX - PX_FIELD_HEADER - packet.length, left = call->text_length - calls->sent;
    size_t part = left < room ? left : room;
    px_wire_add(&packet, PX_RUN_TOOL_TEXT, call->text + calls->sent, part);
    if (!px_buffer_ok(&packet) || px_send(channel, packet.data, packet.length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return -1;
    calls->sent += part;
    return 0;
}

const char *px_tool_calls_send(struct px_tool_calls *calls, struct px_tool_claims *claims, int channel)
{
    for (;;) {
        pthread_mutex_lock(&calls->lock);
        if (calls->sending && calls->sent == calls->sending->text_length) {
            forget(calls, claims, calls->sending);
            calls->sending = NULL;
        }
        if (!calls->sending && (calls->sending = take_first(&calls->answers)))
            calls->sent = 0;
        calls->unanswered = calls->waiting;
        const char *broken = calls->broken;
        pthread_mutex_unlock(&calls->lock);
        if (broken || !calls->sending || channel < 0 || send_packet(calls, channel) < 0)
            return broken;
    }
}

bool px_tool_calls_has_unsent(const struct px_tool_calls *calls)
{
    return calls->sending != NULL;
}

/* ---- Time ---- */

static void keep_deadlines(struct px_tool_calls *calls, int64_t now)
{
    char text[160];
    pyexec_error ignored;
    snprintf(text, sizeof text, "timeout: no answer within tool_timeout_ms=%" PRId64, calls->policy->tool_timeout_ms);
    for (pyexec_tool_call *call = calls->all; call; call = call->next)
        if (now >= call->deadline_ns) {
            call->deadline_ns = INT64_MAX;
            give(call, PX_TOOL_ERROR, px_tool_answer_error(text, NULL), "timeout", &ignored);
        }
}

int64_t px_tool_calls_keep_time(struct px_tool_calls *calls, const struct px_child *child, int64_t now, bool look)
{
    struct px_tool_clock *clock = &calls->clock;
    bool waits = calls->unanswered > 0, changes = waits != (clock->since_ns != 0);
    int64_t still = 0;
    if (calls->policy->tool_timeout_ms != PX_NONE)
        keep_deadlines(calls, now);
    if (now >= px_tool_clock_next(clock) || look || (changes && px_tool_clock_is_due(clock, now))) {
        still = px_tool_clock_look(clock, now, px_child_cpu_ns(child));
        calls->sleeps = waits && still > 0;
    }
    if (changes)
        px_tool_clock_set(clock, waits, now);
    return still;
}

int64_t px_tool_calls_next(const struct px_tool_calls *calls)
{
    int64_t next = px_tool_clock_next(&calls->clock);
    for (const pyexec_tool_call *call = calls->all; call; call = call->next)
        next = call->deadline_ns < next ? call->deadline_ns : next;
    return next;
}

bool px_tool_calls_only_wait(const struct px_tool_calls *calls)
{
    return calls->unanswered > 0 && calls->sleeps;
}

struct px_tool_usage px_tool_calls_usage(const struct px_tool_calls *calls, int64_t now)
{
    const struct px_tool_clock *clock = &calls->clock;
    return (struct px_tool_usage){calls->count, clock->total_ns + (clock->since_ns ? now - clock->since_ns : 0)};
}
