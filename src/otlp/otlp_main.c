/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-otlp: sends batches of spans to a collector, over OTLP/HTTP with JSON. pyexec writes lines to its standard input: first
 * {"url", "headers", "timeout_ms", "export_timeout_ms", "certificate"}, then one body on each line. Each body gets a line on standard
 * output: {"ok", "rejected", "why"}. It ends at the end of its input, and with pyexec.
 *
 * What the collector answers is not trusted: it is read up to a limit, and only a number and a short reason are taken from it. */
#include <curl/curl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/libexec.h"
#include "base/retry.h"

#define OTLP_LINE_MAX ((size_t)64 << 20)
#define OTLP_READ_BYTES 65536u
#define REPLY_MAX 65536u
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 5000
#define OTLP_WHY_MAX 200

enum { GOOD = 0, FAILED = 1 };

struct otlp {
    CURL *curl;
    struct curl_slist *headers;
    int64_t timeout_ms, export_timeout_ms;
    struct px_buffer in, reply;
    char why[OTLP_WHY_MAX + 1];
    int64_t rejected;
};

/* ---- One request ---- */

static size_t take_reply(char *bytes, size_t size, size_t count, void *closure)
{
    struct otlp *otlp = closure;
    size_t length = size * count, room = REPLY_MAX - otlp->reply.length;
    px_buffer_add(&otlp->reply, bytes, length < room ? length : room);
    return length;
}

/* Takes a text for the log: only ASCII that can be printed. */
static void set_why(struct otlp *otlp, const char *text)
{
    size_t length = 0;
    for (; text[length] && length < OTLP_WHY_MAX; length++)
        otlp->why[length] = text[length] >= ' ' && text[length] < 0x7f ? text[length] : '?';
    otlp->why[length] = '\0';
}

/* A 200 can say that a part of the spans was not taken: {"partialSuccess": {"rejectedSpans", "errorMessage"}}. It is not repeated. */
static void read_success(struct otlp *otlp)
{
    px_auto_json json_t *reply = px_json_loadb(px_buffer_shown(&otlp->reply), px_buffer_length(&otlp->reply), 0, NULL);
    const json_t *part = json_object_get(reply, "partialSuccess"), *count = json_object_get(part, "rejectedSpans");
    const char *message = json_string_value(json_object_get(part, "errorMessage"));
    otlp->rejected = json_is_string(count) ? strtoll(json_string_value(count), NULL, 10) : json_integer_value(count);
    if (message)
        set_why(otlp, message);
}

enum attempt { DONE, AGAIN, REFUSED };

/* *ret_wait_ms: how long the collector asks to wait; -1: it does not say. */
static enum attempt attempt(struct otlp *otlp, int64_t most_ms, int64_t *ret_wait_ms)
{
    long status = 0;
    curl_off_t wait = 0;
    char text[64];
    *ret_wait_ms = -1;
    otlp->reply.length = 0;
    curl_easy_setopt(otlp->curl, CURLOPT_TIMEOUT_MS, (long)(most_ms < otlp->timeout_ms ? most_ms : otlp->timeout_ms));
    CURLcode code = curl_easy_perform(otlp->curl);
    if (code != CURLE_OK) {
        set_why(otlp, curl_easy_strerror(code));
        return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ? REFUSED : AGAIN;
    }
    curl_easy_getinfo(otlp->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
        read_success(otlp);
        return DONE;
    }
    snprintf(text, sizeof text, "the collector answered HTTP %ld", status);
    set_why(otlp, text);
    /* Specification of OTLP/HTTP, retryable response codes: no other is repeated. */
    if (status != 429 && status != 502 && status != 503 && status != 504)
        return REFUSED;
    if (curl_easy_getinfo(otlp->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        *ret_wait_ms = wait < 86400 ? (int64_t)wait * 1000 : 86400000;
    return AGAIN;
}

/* A random part of the time, so that many programs do not come back at once. */
static int64_t jitter(int64_t ms)
{
    unsigned char byte = 128;
    (void)!px_random_bytes(&byte, 1);
    return ms / 2 + ms * byte / 256;
}

/* Sends the body until the collector takes or refuses it, or until its time is over. Returns true if it was taken. */
static bool send_body(struct otlp *otlp, const char *body, size_t length)
{
    int64_t end = px_now_ns() + otlp->export_timeout_ms * PX_NS_PER_MS, backoff = BACKOFF_FIRST_MS;
    otlp->why[0] = '\0';
    otlp->rejected = 0;
    curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(otlp->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    for (;;) {
        int64_t wait, left = (end - px_now_ns()) / PX_NS_PER_MS;
        if (left <= 0)
            return false;
        enum attempt how = attempt(otlp, left, &wait);
        if (how != AGAIN)
            return how == DONE;
        if (wait < 0) {
            wait = jitter(backoff);
            backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
        }
        if (px_now_ns() + wait * PX_NS_PER_MS >= end)
            return false;
        px_sleep_ns(wait * PX_NS_PER_MS);
    }
}

/* ---- Lines ---- */

/* Returns the length of the next line, or 0 at the end of input. The line begins at the buffer's beginning. */
static size_t next_line(struct otlp *otlp)
{
    for (size_t looked = 0;;) {
        char *newline =
            otlp->in.length > looked ? memchr(otlp->in.data + looked, '\n', otlp->in.length - looked) : NULL;
        if (newline)
            return (size_t)(newline - otlp->in.data) + 1;
        looked = otlp->in.length;
        char *room = looked < OTLP_LINE_MAX ? px_buffer_reserve(&otlp->in, OTLP_READ_BYTES) : NULL;
        ssize_t n = room ? px_read(STDIN_FILENO, room, OTLP_READ_BYTES) : -1;
        if (n <= 0)
            return 0;
        otlp->in.length += (size_t)n;
        otlp->in.data[otlp->in.length] = '\0';
    }
}

static int add_headers(struct otlp *otlp, json_t *given)
{
    static const char *const own[] = {"Content-Type: application/json", "Expect:"};
    const char *name;
    json_t *value;
    for (size_t i = 0; i < PX_COUNT(own); i++) {
        struct curl_slist *longer = curl_slist_append(otlp->headers, own[i]);
        if (!longer)
            return -1;
        otlp->headers = longer;
    }
    json_object_foreach(given, name, value) {
        px_auto_buffer struct px_buffer line = {0};
        px_buffer_printf(&line, "%s: %s", name, json_string_value(value));
        struct curl_slist *longer =
            px_buffer_ok(&line) ? curl_slist_append(otlp->headers, px_buffer_string(&line)) : NULL;
        if (!longer)
            return -1;
        otlp->headers = longer;
    }
    return 0;
}

static int set_up(struct otlp *otlp, const char *line, size_t length)
{
    px_auto_json json_t *config = px_json_loadb(line, length, 0, NULL);
    const char *url = json_string_value(json_object_get(config, "url"));
    const char *certificate = json_string_value(json_object_get(config, "certificate"));
    otlp->timeout_ms = json_integer_value(json_object_get(config, "timeout_ms"));
    otlp->export_timeout_ms = json_integer_value(json_object_get(config, "export_timeout_ms"));
    otlp->curl = curl_easy_init();
    if (!url || !otlp->curl || add_headers(otlp, json_object_get(config, "headers")) < 0)
        return -1;
    curl_easy_setopt(otlp->curl, CURLOPT_URL, url);
    curl_easy_setopt(otlp->curl, CURLOPT_HTTPHEADER, otlp->headers);
    curl_easy_setopt(otlp->curl, CURLOPT_USERAGENT, "pyexec/" PX_VERSION);
    curl_easy_setopt(otlp->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(otlp->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(otlp->curl, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(otlp->curl, CURLOPT_WRITEDATA, otlp);
    if (certificate)
        curl_easy_setopt(otlp->curl, CURLOPT_CAINFO, certificate);
    return 0;
}

static int answer(const struct otlp *otlp, bool ok)
{
    px_auto_free char *text = px_json_take_text(
        json_pack("{s:b, s:I, s:s}", "ok", ok, "rejected", (json_int_t)otlp->rejected, "why", otlp->why));
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "%s\n", text ? text : "{\"ok\":false}");
    return px_buffer_ok(&line) ? px_write_all(STDOUT_FILENO, line.data, line.length) : -1;
}

/* Its headers are secrets. It ends with pyexec, also when that is killed. Signals for a whole group of processes are for pyexec, which ends this program when it has sent everything. */
static void hide(void)
{
    px_libexec_hide();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

int main(void)
{
    struct otlp otlp = {0};
    size_t length;
    hide();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return FAILED;
    length = next_line(&otlp);
    int status = length && set_up(&otlp, otlp.in.data, length - 1) == 0 ? GOOD : FAILED;
    px_buffer_consume(&otlp.in, length);
    while (status == GOOD && (length = next_line(&otlp))) {
        bool ok = send_body(&otlp, otlp.in.data, length - 1);
        px_buffer_consume(&otlp.in, length);
        if (answer(&otlp, ok) < 0)
            status = FAILED;
    }
    curl_slist_free_all(otlp.headers);
    curl_easy_cleanup(otlp.curl);
    px_buffer_done(&otlp.in);
    px_buffer_done(&otlp.reply);
    curl_global_cleanup();
    return status;
}
