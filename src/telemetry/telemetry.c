/* SPDX-License-Identifier: Apache-2.0 */
/* The queue, the thread that empties it, and the counters. */
#include "telemetry/telemetry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/thread.h"
#include "telemetry/telemetry_private.h"

#define STOP_NS (2000 * PX_NS_PER_MS)
#define LOG_NS (60000 * PX_NS_PER_MS)
#define QUEUE_BYTES_MAX ((size_t)32 << 20)
#define BODY_BYTES_MAX ((size_t)4 << 20) /* collectors take 20 MiB and more */

/* Counts `count` spans as lost. The caller holds the lock. Returns true if this must be logged. */
static bool lose(struct px_telemetry *telemetry, size_t count)
{
    int64_t now = px_now_ns();
    telemetry->counts.dropped += count;
    if (telemetry->logged_ns && now - telemetry->logged_ns < LOG_NS)
        return false;
    telemetry->logged_ns = now;
    return true;
}

static void say_lost(struct px_telemetry *telemetry, const char *why)
{
    char text[400];
    struct px_telemetry_counts counts;
    px_telemetry_count(telemetry, &counts);
    snprintf(text, sizeof text, "%s; %llu spans are lost so far", why, (unsigned long long)counts.dropped);
    telemetry->log(telemetry->closure, "traces can't be sent", text);
}

/* A pyexec_spans_fn: called on a thread that executes. */
static void take_spans(void *userdata, const char *json, size_t length, size_t count)
{
    struct px_telemetry *telemetry = userdata;
    struct px_telemetry_item *item = malloc(sizeof *item + length);
    bool copied = item != NULL;
    if (copied) {
        item->next = NULL;
        item->count = count;
        item->length = length;
        memcpy(item->text, json, length);
    }
    pthread_mutex_lock(&telemetry->lock);
    bool full = !copied || telemetry->queued + count > telemetry->queue_max ||
                telemetry->bytes + length > QUEUE_BYTES_MAX || telemetry->closing;
    bool say = full && lose(telemetry, count);
    if (full) {
        free(item);
    } else {
        if (!telemetry->first)
            telemetry->first_ns = px_now_ns();
        *(telemetry->first ? &telemetry->last->next : &telemetry->first) = item;
        bool was_due = telemetry->queued >= telemetry->batch_max;
        telemetry->last = item;
        telemetry->queued += count;
        telemetry->bytes += length;
        /* The thread wakes for the first item, to know when it is due, and when a batch is full. */
        if (telemetry->first == item || (!was_due && telemetry->queued >= telemetry->batch_max))
            pthread_cond_signal(&telemetry->changed);
    }
    pthread_mutex_unlock(&telemetry->lock);
    if (say)
        say_lost(telemetry, copied ? "the queue is full (max_queue_size)" : "there is no memory for spans");
}

/* Moves spans from the queue into the body of a request. Returns their number. The caller holds the lock. */
static size_t take_batch(struct px_telemetry *telemetry, struct px_buffer *body)
{
    size_t count = 0;
    px_buffer_add_string(body, telemetry->head);
    while (telemetry->first && (!count || (count + telemetry->first->count <= telemetry->batch_max &&
                                           body->length + telemetry->first->length < BODY_BYTES_MAX))) {
        struct px_telemetry_item *item = telemetry->first;
        px_buffer_add_string(body, count ? "," : "");
        px_buffer_add(body, item->text, item->length);
        count += item->count;
        telemetry->first = item->next;
        telemetry->queued -= item->count;
        telemetry->bytes -= item->length;
        free(item);
    }
    telemetry->first_ns = px_now_ns();
    px_buffer_add_string(body, "]}]}]}\n");
    return count;
}

/* The caller does not hold the lock. */
static void deliver(struct px_telemetry *telemetry, const struct px_buffer *body, size_t count)
{
    char why[300] = "no memory";
    uint64_t rejected = 0;
    bool sent =
        px_buffer_ok(body) && px_telemetry_send(telemetry, body, &rejected, why, sizeof why) == PX_TELEMETRY_EXPORTED;
    if (rejected > count)
        rejected = count;
    pthread_mutex_lock(&telemetry->lock);
    bool recovered = sent && telemetry->failing;
    telemetry->counts.exported += sent ? count - rejected : 0;
    telemetry->counts.rejected += rejected;
    telemetry->failing = !sent;
    bool say = !sent && lose(telemetry, count);
    bool partly = rejected && (!telemetry->logged_ns || px_now_ns() - telemetry->logged_ns >= LOG_NS);
    if (recovered)
        telemetry->logged_ns = 0;
    if (partly)
        telemetry->logged_ns = px_now_ns();
    pthread_mutex_unlock(&telemetry->lock);
    if (say)
        say_lost(telemetry, why);
    if (recovered)
        telemetry->log(telemetry->closure, "traces are sent again", NULL);
    if (partly)
        telemetry->log(telemetry->closure, "the collector took only a part of the spans", why);
}

/* Waits until a batch is due. Returns false at the end. The caller holds the lock. */
static bool await_batch(struct px_telemetry *telemetry)
{
    for (;;) {
        if (telemetry->closing)
            return telemetry->first && px_now_ns() < telemetry->end_ns;
        if (!telemetry->first) {
            pthread_cond_wait(&telemetry->changed, &telemetry->lock);
            continue;
        }
        int64_t due = telemetry->first_ns + telemetry->delay_ns;
        if (telemetry->queued >= telemetry->batch_max || px_now_ns() >= due)
            return true;
        px_cond_wait_until(&telemetry->changed, &telemetry->lock, due);
    }
}

static void *export_all(void *argument)
{
    struct px_telemetry *telemetry = argument;
    pthread_mutex_lock(&telemetry->lock);
    while (await_batch(telemetry)) {
        px_auto_buffer struct px_buffer body = {0};
        size_t count = take_batch(telemetry, &body);
        pthread_mutex_unlock(&telemetry->lock);
        deliver(telemetry, &body, count);
        pthread_mutex_lock(&telemetry->lock);
    }
    bool say = telemetry->queued && lose(telemetry, telemetry->queued);
    pthread_mutex_unlock(&telemetry->lock);
    if (say)
        say_lost(telemetry, "pyexec ends");
    px_telemetry_sender_end(&telemetry->sender);
    return NULL;
}

static void release(struct px_telemetry *telemetry)
{
    for (struct px_telemetry_item *item = telemetry->first, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    pthread_mutex_destroy(&telemetry->lock);
    pthread_cond_destroy(&telemetry->changed);
    px_close_fd(&telemetry->wake);
    px_buffer_done(&telemetry->sender.in);
    free(telemetry->sender.program);
    free(telemetry->sender.greeting);
    free(telemetry->sampler);
    free(telemetry->head);
    free(telemetry);
}

int px_telemetry_start(const struct px_telemetry_config *config, px_telemetry_log_fn log, void *closure,
                       struct px_telemetry **ret, pyexec_error *error)
{
    *ret = NULL;
    if (config->disabled || (!config->endpoint && !config->traces_endpoint))
        return 0;
    if (*config->ignored)
        log(closure, "traces", config->ignored);
    struct px_telemetry *telemetry = calloc(1, sizeof *telemetry);
    if (!telemetry)
        return px_error_oom(error);
    pthread_mutex_init(&telemetry->lock, NULL);
    px_cond_init(&telemetry->changed);
    telemetry->log = log;
    telemetry->closure = closure;
    telemetry->sender.socket = -1;
    telemetry->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = telemetry->wake < 0 ? px_error_exhausted(error, errno, "can't make a descriptor for traces")
                                     : px_telemetry_read(telemetry, config, error);
    if (status == 0 && !telemetry->sender.program) {
        log(closure, "traces can't be sent",
            "the program pyexec-otlp is not here: install pyexec as a package, or build it with libcurl");
        release(telemetry);
        return 0;
    }
    int failed = status == 0 ? px_thread_create(&telemetry->thread, export_all, telemetry) : 0;
    if (failed)
        status = px_error_exhausted(error, failed, "can't start the thread that sends traces");
    telemetry->runs = status == 0;
    if (status < 0)
        release(telemetry);
    else
        *ret = telemetry;
    return status;
}

int px_telemetry_attach(struct px_telemetry *telemetry, pyexec_executor *executor, pyexec_error *error)
{
    return telemetry ? pyexec_executor_set_tracing(executor, telemetry->sampler, telemetry->ratio, telemetry->flags,
                                                   take_spans, telemetry, error)
                     : 0;
}

void px_telemetry_add(struct px_telemetry *telemetry, const struct px_span_text *spans)
{
    if (px_buffer_ok(&spans->text) && spans->count)
        take_spans(telemetry, spans->text.data, spans->text.length, spans->count);
}

const struct px_trace_sampler *px_telemetry_sampler(const struct px_telemetry *telemetry)
{
    return &telemetry->chosen;
}

void px_telemetry_stop(struct px_telemetry *telemetry)
{
    if (!telemetry)
        return;
    pthread_mutex_lock(&telemetry->lock);
    telemetry->closing = true;
    telemetry->end_ns = px_now_ns() + STOP_NS;
    pthread_cond_signal(&telemetry->changed);
    pthread_mutex_unlock(&telemetry->lock);
    px_wake(telemetry->wake);
    pthread_join(telemetry->thread, NULL);
    release(telemetry);
}

void px_telemetry_count(struct px_telemetry *telemetry, struct px_telemetry_counts *ret)
{
    *ret = (struct px_telemetry_counts){0};
    if (!telemetry)
        return;
    pthread_mutex_lock(&telemetry->lock);
    *ret = telemetry->counts;
    ret->queued = telemetry->queued;
    pthread_mutex_unlock(&telemetry->lock);
}
