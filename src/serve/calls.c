/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "serve/execution.h"
#include "serve/http.h"

#define BUCKETS 4096u

const char *const px_call_answer_names[PX_CALL_ANSWERS] = {"none", "result", "error", "denied", "allowed"};

struct px_calls {
    pthread_mutex_t lock;
    struct px_client_call *buckets[BUCKETS];
    _Atomic uint64_t answers[PX_CALL_ANSWERS];
    struct px_histogram waits;
};

struct px_calls *px_calls_new(void)
{
    struct px_calls *calls = calloc(1, sizeof *calls);
    if (calls)
        pthread_mutex_init(&calls->lock, NULL);
    return calls;
}

void px_calls_free(struct px_calls *calls)
{
    if (!calls)
        return;
    pthread_mutex_destroy(&calls->lock);
    free(calls);
}

/* The library chooses the ids at random, so no client can make all its calls use one bucket. */
static struct px_client_call **bucket_of(struct px_calls *calls, const char *id)
{
    return &calls->buckets[px_hash(id, strlen(id)) % BUCKETS];
}

/* ---- Functions for callers that hold the lock ---- */

static void unlist(struct px_calls *calls, struct px_client_call *call)
{
    struct px_client_call **at = bucket_of(calls, pyexec_tool_call_id(call->handle));
    while (*at != call)
        at = &(*at)->next_of_bucket;
    *at = call->next_of_bucket;
    for (at = &call->execution->calls; *at != call;)
        at = &(*at)->next;
    *at = call->next;
    call->listed = false;
}

/* Releases a reference. If it was the last one, adds the call to the front of `gone`, the list for free_all(). Returns the
 * list. */
static struct px_client_call *drop(struct px_client_call *call, struct px_client_call *gone)
{
    if (--call->references)
        return gone;
    call->next = gone;
    return call;
}

static struct px_client_call *unlist_and_drop(struct px_calls *calls, struct px_client_call *call,
                                              struct px_client_call *gone)
{
    unlist(calls, call);
    return drop(call, gone);
}

/* Removes the calls for which the script no longer waits, and returns them as a list. A call with a second reference stays: it
 * is being answered now, and is counted by that answer. */
static struct px_client_call *take_abandoned(struct px_calls *calls, const struct px_execution *execution)
{
    struct px_client_call *gone = NULL;
    for (struct px_client_call *call = execution->calls, *after; call; call = after) {
        after = call->next;
        if (call->references == 1 && !pyexec_tool_call_waits(call->handle))
            gone = unlist_and_drop(calls, call, gone);
    }
    return gone;
}

/* ---- Functions for callers that do not hold the lock ---- */

static void free_all(struct px_client_call *gone)
{
    for (struct px_client_call *call = gone, *after; call; call = after) {
        after = call->next;
        struct px_calls *calls = call->calls;
        int64_t end = call->answer ? call->settled_ns : px_now_ns();
        calls->answers[call->answer]++;
        px_histogram_add(&calls->waits, end - call->since_ns);
        pyexec_tool_call_free(call->handle);
        free(call);
    }
}

struct px_client_call *px_calls_add(struct px_calls *calls, struct px_execution *execution, pyexec_tool_call *handle,
                                    bool held)
{
    struct px_client_call *call = calloc(1, sizeof *call);
    if (!call) {
        pyexec_tool_call_free(handle);
        return NULL;
    }
    *call = (struct px_client_call){.calls = calls,
                                    .execution = execution,
                                    .handle = handle,
                                    .references = 1,
                                    .listed = true,
                                    .held = held,
                                    .since_ns = px_now_ns(),
                                    .since = time(NULL)};
    struct px_client_call **bucket = bucket_of(calls, pyexec_tool_call_id(handle));
    pthread_mutex_lock(&calls->lock);
    struct px_client_call *gone = take_abandoned(calls, execution);
    call->next_of_bucket = *bucket;
    *bucket = call;
    call->next = execution->calls;
    execution->calls = call;
    pthread_mutex_unlock(&calls->lock);
    free_all(gone);
    return call;
}

struct px_client_call *px_calls_find(struct px_calls *calls, const struct px_principal *principal, const char *id)
{
    pthread_mutex_lock(&calls->lock);
    struct px_client_call *call = *bucket_of(calls, id);
    while (call && (call->execution->principal != principal || strcmp(pyexec_tool_call_id(call->handle), id) != 0))
        call = call->next_of_bucket;
    if (call)
        call->references++;
    pthread_mutex_unlock(&calls->lock);
    return call;
}

/* Removes the call from the lists, if it is in them. The caller holds the lock, and has its own reference. */
static void unlist_once(struct px_client_call *call)
{
    if (call->listed) {
        unlist(call->calls, call);
        call->references--;
    }
}

void px_call_unlist(struct px_client_call *call)
{
    pthread_mutex_lock(&call->calls->lock);
    unlist_once(call);
    pthread_mutex_unlock(&call->calls->lock);
}

void px_call_settle(struct px_client_call *call, enum px_call_answer answer)
{
    pthread_mutex_lock(&call->calls->lock);
    call->answer = answer;
    call->settled_ns = px_now_ns();
    unlist_once(call);
    pthread_mutex_unlock(&call->calls->lock);
}

void px_call_release(struct px_client_call *call)
{
    struct px_calls *calls = call->calls;
    pthread_mutex_lock(&calls->lock);
    struct px_client_call *gone = drop(call, NULL);
    pthread_mutex_unlock(&calls->lock);
    free_all(gone);
}

void px_calls_drop(struct px_calls *calls, struct px_execution *execution)
{
    struct px_client_call *gone = NULL;
    pthread_mutex_lock(&calls->lock);
    while (execution->calls)
        gone = unlist_and_drop(calls, execution->calls, gone);
    pthread_mutex_unlock(&calls->lock);
    free_all(gone);
}

void px_call_write(struct px_buffer *out, const pyexec_tool_call *handle)
{
    size_t length;
    const char *id = pyexec_tool_call_id(handle), *name = pyexec_tool_call_name(handle);
    const char *arguments = pyexec_tool_call_arguments(handle, &length);
    const char *traceparent = pyexec_tool_call_traceparent(handle), *tracestate = pyexec_tool_call_tracestate(handle);
    px_buffer_add_string(out, "\"call_id\":");
    px_json_text_string(out, id, strlen(id));
    px_buffer_add_string(out, ",\"name\":");
    px_json_text_string(out, name, strlen(name));
    if (traceparent) {
        px_buffer_printf(out, ",\"traceparent\":\"%s\"", traceparent);
        if (tracestate)
            px_buffer_printf(out, ",\"tracestate\":\"%s\"", tracestate);
    }
    px_buffer_add_string(out, ",\"arguments\":");
    px_buffer_add(out, arguments, length);
}

/* The caller holds the lock. */
static bool any_waits(const struct px_execution *execution)
{
    const struct px_client_call *call = execution->calls;
    while (call && !pyexec_tool_call_waits(call->handle))
        call = call->next;
    return call != NULL;
}

bool px_calls_any(struct px_calls *calls, const struct px_execution *execution)
{
    pthread_mutex_lock(&calls->lock);
    bool found = any_waits(execution);
    pthread_mutex_unlock(&calls->lock);
    return found;
}

static void write_call(struct px_buffer *out, const struct px_client_call *call, bool whole)
{
    struct tm parts;
    char since[32] = "";
    if (gmtime_r(&call->since, &parts))
        strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &parts);
    px_buffer_add_byte(out, '{');
    if (whole)
        px_call_write(out, call->handle);
    else
        px_buffer_printf(out, "\"call_id\":\"%s\",\"name\":\"%s\",\"arguments\":null",
                         pyexec_tool_call_id(call->handle), pyexec_tool_call_name(call->handle));
    px_buffer_printf(out, ",\"since\":\"%s\",\"approval\":%s}", since, call->held ? "true" : "false");
}

/* The caller holds the lock. */
static void write_calls(const struct px_execution *execution, struct px_buffer *out, bool whole)
{
    bool first = true;
    for (struct px_client_call *call = execution->calls; call; call = call->next) {
        if (!pyexec_tool_call_waits(call->handle))
            continue;
        px_buffer_add_string(out, first ? "" : ",");
        write_call(out, call, whole);
        first = false;
    }
}

void px_calls_write(struct px_calls *calls, const struct px_execution *execution, struct px_buffer *out, bool whole)
{
    pthread_mutex_lock(&calls->lock);
    write_calls(execution, out, whole);
    pthread_mutex_unlock(&calls->lock);
}

void px_calls_write_attached(struct px_calls *calls, const struct px_principal *principal, struct px_buffer *out,
                             size_t most)
{
    bool first = true;
    pthread_mutex_lock(&calls->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct px_client_call *call = calls->buckets[i]; call; call = call->next_of_bucket) {
            const struct px_execution *execution = call->execution;
            /* Write each execution only once: when its first call is found. */
            if (execution->calls != call || execution->principal != principal || execution->detached ||
                !any_waits(execution))
                continue;
            const char *session = execution->client->session;
            px_buffer_add_string(out, first ? "{\"session_id\":" : ",{\"session_id\":");
            px_json_text_string(out, session, session ? strlen(session) : 0);
            px_buffer_add_string(out, ",\"calls\":[");
            write_calls(execution, out, out->length < most);
            px_buffer_add_string(out, "]}");
            first = false;
        }
    pthread_mutex_unlock(&calls->lock);
}

void px_calls_count(struct px_calls *calls, struct px_call_counts *ret)
{
    *ret = (struct px_call_counts){0};
    for (size_t i = 0; i < PX_CALL_ANSWERS; i++)
        ret->answers[i] = calls->answers[i];
    pthread_mutex_lock(&calls->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct px_client_call *call = calls->buckets[i]; call; call = call->next_of_bucket)
            *(call->held ? &ret->held : &ret->waiting) += (size_t)pyexec_tool_call_waits(call->handle);
    pthread_mutex_unlock(&calls->lock);
}

struct px_histogram *px_calls_waits(struct px_calls *calls)
{
    return &calls->waits;
}
