/* SPDX-License-Identifier: Apache-2.0 */
/* The clients that wait for a detached execution: readers of its events, and requests with wait_ms. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "serve/calls.h"
#include "serve/detached_private.h"

#define STREAM_SILENCE_NS (15 * INT64_C(1000000000))
#define BLOCK_BYTES 16384

/* ---- Streams ---- */

/* Called by the connection's thread to get the next bytes of the body. */
static ssize_t read_events(void *closure, uint64_t position, char *to, size_t size)
{
    struct px_detached_waiter *waiter = closure;
    struct px_http_request *request = waiter->request;
    ssize_t count = 0;
    bool ended = false;
    (void)position;
    pthread_mutex_lock(&request->lock);
    if (!waiter->waiting.length)
        px_event_log_read(&waiter->detached->log, &waiter->after, &waiter->waiting, &ended);
    if (!px_buffer_ok(&waiter->waiting)) {
        count = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (waiter->waiting.length) {
        count = (ssize_t)(waiter->waiting.length < size ? waiter->waiting.length : size);
        memcpy(to, waiter->waiting.data, (size_t)count);
        px_buffer_consume(&waiter->waiting, (size_t)count);
        request->answer_bytes += (uint64_t)count;
        waiter->sent_ns = px_now_ns();
    } else if (ended) {
        count = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        MHD_suspend_connection(request->connection);
        request->suspended = true;
    }
    pthread_mutex_unlock(&request->lock);
    return count;
}

static void unlist(struct px_detached_table *table, struct px_detached_waiter *waiter)
{
    struct px_detached_waiter **at = &table->waiters;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
}

static void free_waiter(struct px_detached_waiter *waiter)
{
    px_buffer_done(&waiter->waiting);
    px_detached_release(waiter->detached);
    px_http_request_release(waiter->request);
    free(waiter);
}

/* Called when the stream's response is freed. */
static void forget_reader(void *closure)
{
    struct px_detached_waiter *waiter = closure;
    struct px_detached_table *table = waiter->detached->table;
    pthread_mutex_lock(&table->lock);
    unlist(table, waiter);
    pthread_mutex_unlock(&table->lock);
    free_waiter(waiter);
}

static struct px_detached_waiter *add_waiter(struct px_detached *detached, struct px_http_request *request,
                                             int64_t deadline_ns, uint64_t after,
                                             void (*answer)(struct px_http_request *request))
{
    struct px_detached_table *table = detached->table;
    struct px_detached_waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return NULL;
    *waiter = (struct px_detached_waiter){.detached = detached,
                                          .request = request,
                                          .deadline_ns = deadline_ns,
                                          .after = after,
                                          .answer = answer,
                                          .sent_ns = px_now_ns()};
    px_http_request_hold(request);
    pthread_mutex_lock(&table->lock);
    waiter->next = table->waiters;
    table->waiters = waiter;
    pthread_cond_signal(&table->changed);
    pthread_mutex_unlock(&table->lock);
    return waiter;
}

static void refuse(struct px_detached *detached, struct px_http_request *request)
{
    pyexec_error error;
    px_error_oom(&error);
    px_respond_error(request, &error);
    px_detached_release(detached);
}

void px_detached_stream(struct px_detached *detached, struct px_http_request *request, uint64_t after)
{
    struct px_detached_waiter *waiter = add_waiter(detached, request, 0, after, NULL);
    if (!waiter) {
        refuse(detached, request);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_events, waiter, forget_reader);
    if (!response) {
        px_respond(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
        forget_reader(waiter);
        return;
    }
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    request->streams = true;
    px_respond(request, MHD_HTTP_OK, response);
}

void px_detached_wake(struct px_detached_table *table, const struct px_detached *detached)
{
    for (struct px_detached_waiter *waiter = table->waiters; waiter; waiter = waiter->next)
        if (!waiter->deadline_ns && waiter->detached == detached)
            px_http_request_wake(waiter->request);
}

void px_detached_keep_alive(struct px_detached_table *table)
{
    int64_t now = px_now_ns();
    pthread_mutex_lock(&table->lock);
    for (struct px_detached_waiter *waiter = table->waiters; waiter; waiter = waiter->next) {
        if (waiter->deadline_ns)
            continue;
        pthread_mutex_lock(&waiter->request->lock);
        bool due = now - waiter->sent_ns >= STREAM_SILENCE_NS && !waiter->waiting.length;
        if (due) {
            px_buffer_add_string(&waiter->waiting, ": still running\n\n");
            waiter->sent_ns = now;
        }
        pthread_mutex_unlock(&waiter->request->lock);
        if (due)
            px_http_request_wake(waiter->request);
    }
    pthread_mutex_unlock(&table->lock);
}

/* ---- Answers ---- */

static void answer_with(struct px_detached *detached, struct px_http_request *request,
                        void (*answer)(struct px_http_request *request))
{
    if (answer) {
        answer(request);
        return;
    }
    struct px_buffer text = {0};
    px_detached_write(detached, &text, true);
    px_respond_json(request, MHD_HTTP_OK, px_buffer_take(&text));
}

/* The caller holds the table's lock. */
static bool is_due(const struct px_detached_waiter *waiter, int64_t now)
{
    return waiter->deadline_ns && (now >= waiter->deadline_ns || waiter->detached->state == PX_DETACHED_ENDED ||
                                   waiter->request->cancelled || waiter->detached->table->stopping ||
                                   (waiter->deadline_ns != INT64_MAX &&
                                    px_calls_any(waiter->detached->table->server->calls, waiter->detached->execution)));
}

void px_detached_answer_waiters(struct px_detached_table *table)
{
    struct px_detached_waiter *due = NULL;
    int64_t now = px_now_ns();
    pthread_mutex_lock(&table->lock);
    for (struct px_detached_waiter *waiter = table->waiters, *after; waiter; waiter = after) {
        after = waiter->next;
        if (!is_due(waiter, now))
            continue;
        unlist(table, waiter);
        waiter->next = due;
        due = waiter;
    }
    pthread_mutex_unlock(&table->lock);
    for (struct px_detached_waiter *waiter = due, *after; waiter; waiter = after) {
        after = waiter->next;
        answer_with(waiter->detached, waiter->request, waiter->answer);
        free_waiter(waiter);
    }
}

void px_detached_await(struct px_detached *detached, struct px_http_request *request, int64_t wait_ms,
                       void (*answer)(struct px_http_request *request))
{
    int64_t deadline_ns = wait_ms < 0 ? INT64_MAX : px_now_ns() + wait_ms * PX_NS_PER_MS;
    if (wait_ms && !add_waiter(detached, request, deadline_ns, 0, answer)) {
        refuse(detached, request);
        return;
    }
    if (wait_ms) {
        px_detached_answer_waiters(detached->table);
        return;
    }
    answer_with(detached, request, answer);
    px_detached_release(detached);
}
