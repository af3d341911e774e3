/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/sse.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "serve/http.h"

#define SILENCE_NS (15 * INT64_C(1000000000))
#define LINES_SILENCE_NS (5 * INT64_C(1000000000)) /* E2B's server waits as long */
#define SSE_BLOCK_BYTES 16384

/* The policy's limits of output also limit how much waits for the client, because only kept bytes are sent. So the run
 * never waits for its reader. */
struct px_sse {
    struct px_buffer waiting;
    size_t taken;             /* bytes of `waiting` that the client has got */
    struct px_buffer held[2]; /* for each stream: the beginning of an incomplete character */
    bool lines;               /* true: lines of JSON for E2B's clients; false: server-sent events */
    const char *silence;      /* text that is sent during silence; NULL: the comment or line of the form above */
    size_t silence_length;
    unsigned long long seq;
    bool ended;
    bool lost; /* a part could not be kept, because there was no memory; the body ends with an error */
    int64_t sent_ns;
};

void px_sse_free(struct px_sse *stream)
{
    if (!stream)
        return;
    px_buffer_done(&stream->waiting);
    px_buffer_done(&stream->held[0]);
    px_buffer_done(&stream->held[1]);
    free(stream);
}

/* Copies at most `size` of the waiting bytes. The rest moves to the front only when it is not longer than the part
 * before it. Moving it after each block would move the same bytes many times. */
static size_t take_waiting(struct px_sse *stream, char *to, size_t size)
{
    struct px_buffer *waiting = &stream->waiting;
    size_t left = waiting->length - stream->taken, count = left < size ? left : size;
    memcpy(to, waiting->data + stream->taken, count);
    stream->taken += count;
    left -= count;
    if (!left)
        px_buffer_done(waiting);
    else if (left <= stream->taken)
        px_buffer_consume(waiting, stream->taken);
    else
        return count;
    stream->taken = 0;
    return count;
}

/* Called by the connection's thread to get the next bytes of the body. */
static ssize_t read_events(void *closure, uint64_t position, char *to, size_t size)
{
    struct px_http_request *request = closure;
    struct px_sse *stream = request->stream;
    ssize_t count = 0;
    (void)position;
    pthread_mutex_lock(&request->lock);
    if (stream->lost) {
        count = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (stream->waiting.length) {
        count = (ssize_t)take_waiting(stream, to, size);
        px_http_request_keep(request, -count);
        request->answer_bytes += (uint64_t)count;
    } else if (stream->ended) {
        count = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        /* Without this libmicrohttpd would call this function in a loop. */
        MHD_suspend_connection(request->connection);
        request->suspended = true;
    }
    pthread_mutex_unlock(&request->lock);
    return count;
}

static void forget_reader(void *closure)
{
    px_http_request_release(closure);
}

static int begin(struct px_http_request *request, bool lines, const char *type, const char *silence,
                 size_t silence_length)
{
    struct px_sse *stream = calloc(1, sizeof *stream);
    if (!stream)
        return -1;
    stream->sent_ns = px_now_ns();
    stream->lines = lines;
    stream->silence = silence;
    stream->silence_length = silence_length;
    pthread_mutex_lock(&request->lock);
    request->stream = stream;
    pthread_mutex_unlock(&request->lock);
    px_http_request_hold(request);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, SSE_BLOCK_BYTES, read_events, request, forget_reader);
    if (!response) {
        px_http_request_release(request);
        return -1;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    px_respond(request, MHD_HTTP_OK, response);
    return 0;
}

int px_sse_begin(struct px_http_request *request)
{
    return begin(request, false, "text/event-stream", NULL, 0);
}

int px_sse_begin_lines(struct px_http_request *request)
{
    return begin(request, true, "application/x-ndjson", NULL, 0);
}

int px_sse_begin_bytes(struct px_http_request *request, const char *type, const char *silence, size_t silence_length)
{
    return begin(request, false, type, silence, silence_length);
}

static void add_event(struct px_http_request *request, const struct px_buffer *event, bool last)
{
    struct px_sse *stream = request->stream;
    if (last)
        px_http_request_end_turn(request);
    pthread_mutex_lock(&request->lock);
    if (!px_http_request_is_lost(request)) {
        px_buffer_add(&stream->waiting, px_buffer_string(event), event->length);
        stream->lost |= !px_buffer_ok(&stream->waiting);
        if (!stream->lost)
            px_http_request_keep(request, (long)event->length);
    }
    stream->ended |= last;
    if (last)
        px_http_request_change(request, PX_HTTP_ANSWER);
    stream->sent_ns = px_now_ns();
    pthread_mutex_unlock(&request->lock);
    px_http_request_wake(request);
}

void px_sse_add(struct px_http_request *request, const struct px_buffer *bytes, bool last)
{
    add_event(request, bytes, last);
}

bool px_sse_wanted(const struct px_http_request *request)
{
    const char *accept = px_http_request_header(request, "Accept");
    return accept && strstr(accept, "text/event-stream");
}

static void send_json(struct px_http_request *request, const char *name, const char *json, bool last)
{
    px_auto_buffer struct px_buffer event = {0};
    if (!request->stream->lines)
        px_buffer_printf(&event, "event: %s\ndata: ", name);
    px_buffer_add_string(&event, json);
    px_buffer_add_string(&event, request->stream->lines ? "\n" : "\n\n");
    add_event(request, &event, last);
}

void px_sse_send(struct px_http_request *request, const char *name, const char *json)
{
    send_json(request, name, json, false);
}

static long long unix_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* `bytes` are the script's own, if the text is not the same because they are not UTF-8; else NULL. */
static void add_text(struct px_buffer *event, const char *name, unsigned long long seq, const char *quoted,
                     const char *bytes, size_t length)
{
    px_buffer_printf(event, "event: %s\ndata: {\"seq\":%llu,\"text\":", name, seq);
    px_buffer_add_string(event, quoted);
    if (bytes) {
        px_buffer_add_string(event, ",\"base64\":\"");
        px_base64_encode(event, bytes, length);
        px_buffer_add_byte(event, '"');
    }
    px_buffer_add_string(event, "}\n\n");
}

static void send_text(struct px_http_request *request, int which, const char *bytes, size_t length)
{
    px_auto_buffer struct px_buffer text = {0}, event = {0};
    px_utf8_repair(&text, bytes, length);
    px_auto_json json_t *string = json_stringn(px_buffer_string(&text), text.length);
    px_auto_free char *quoted = string ? px_json_dumps(string, JSON_ENCODE_ANY) : NULL;
    const char *name = which == 1 ? "stdout" : "stderr", *shown = quoted ? quoted : "";
    bool same = px_buffer_length(&text) == length && memcmp(px_buffer_shown(&text), bytes, length) == 0;
    if (request->stream->lines)
        px_buffer_printf(&event, "{\"type\":\"%s\",\"text\":%s,\"timestamp\":%lld}\n", name, shown, unix_ns());
    else
        add_text(&event, name, request->stream->seq++, shown, same ? NULL : bytes, length);
    event.failed |= !quoted;
    add_event(request, &event, false);
}

/* Records that a part can't be sent. The connection's thread also reads `lost`, so the lock is held. */
static void lose(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    request->stream->lost = true;
    pthread_mutex_unlock(&request->lock);
}

int px_sse_output(void *closure, int which, const char *bytes, size_t length)
{
    struct px_http_request *request = closure;
    struct px_buffer *held = &request->stream->held[which - 1];
    px_buffer_add(held, bytes, length);
    if (!px_buffer_ok(held))
        lose(request);
    size_t whole = px_buffer_ok(held)
                       ? px_buffer_length(held) - px_utf8_incomplete_tail(px_buffer_shown(held), px_buffer_length(held))
                       : 0;
    if (whole)
        send_text(request, which, held->data, whole);
    px_buffer_consume(held, whole);
    return px_http_request_is_lost(request);
}

int px_sse_display(void *closure, const char *json, size_t length)
{
    struct px_http_request *request = closure;
    (void)length;
    send_json(request, "display", json, false);
    return px_http_request_is_lost(request);
}

void px_sse_end(struct px_http_request *request, const char *name, const char *json)
{
    for (int which = 1; which <= 2; which++) {
        struct px_buffer *held = &request->stream->held[which - 1];
        if (held->length)
            send_text(request, which, held->data, held->length);
    }
    send_json(request, name, json, true);
}

void px_sse_tick(struct px_http_request *request, int64_t now_ns)
{
    pthread_mutex_lock(&request->lock);
    struct px_sse *stream = request->stream;
    bool lines = stream && stream->lines;
    bool due = stream && !stream->ended && now_ns - stream->sent_ns >= (lines ? LINES_SILENCE_NS : SILENCE_NS);
    pthread_mutex_unlock(&request->lock);
    if (!due)
        return;
    px_auto_buffer struct px_buffer comment = {0};
    if (stream->silence)
        px_buffer_add(&comment, stream->silence, stream->silence_length);
    else
        px_buffer_add_string(&comment, lines ? "{\"type\":\"keepalive\"}\n" : ": still running\n\n");
    add_event(request, &comment, false);
}
