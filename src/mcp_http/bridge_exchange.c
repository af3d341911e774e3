/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request, with libcurl. A redirect is followed only to the same scheme, host and port, because the headers have
 * secrets. Certificates are verified. Responses are not decompressed, and their size is limited. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "mcp_http/bridge.h"

#define CONNECT_MS 10000L
#define NOTICE_MS 10000L
#define AGAIN_MS 30000L
#define END_MS 800L
#define REDIRECTS_MAX 3
#define ERROR_TEXT_MAX (64u << 10)          /* bytes that are kept of the body of an HTTP error */
#define AFTER_ANSWER_NS INT64_C(2000000000) /* how long a stream may stay open after its answer */

struct px_bridge_exchange *px_bridge_exchange_new(struct px_bridge *bridge, enum px_bridge_kind kind, char *body,
                                                  size_t length)
{
    struct px_bridge_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) {
        free(body);
        return NULL;
    }
    exchange->bridge = bridge;
    exchange->kind = kind;
    exchange->body = body;
    exchange->body_length = length;
    exchange->next = bridge->exchanges;
    bridge->exchanges = exchange;
    bridge->count++;
    bridge->bytes += length;
    return exchange;
}

static void drop_transfer(struct px_bridge_exchange *exchange)
{
    if (exchange->easy) {
        curl_multi_remove_handle(exchange->bridge->multi, exchange->easy);
        curl_easy_cleanup(exchange->easy);
    }
    exchange->easy = NULL;
    curl_slist_free_all(TAKE_PTR(exchange->headers));
    px_buffer_done(&exchange->text);
    px_sse_events_done(&exchange->events);
}

void px_bridge_exchange_free(struct px_bridge_exchange *exchange)
{
    struct px_bridge *bridge = exchange->bridge;
    struct px_bridge_exchange **at = &bridge->exchanges;
    while (*at && *at != exchange)
        at = &(*at)->next;
    if (*at)
        *at = exchange->next;
    bridge->count--;
    bridge->bytes -= exchange->body_length;
    drop_transfer(exchange);
    px_buffer_done(&exchange->own);
    json_decref(exchange->id);
    free(exchange->method);
    free(exchange->body);
    free(exchange);
}

/* ---- The request ---- */

static bool is_plain(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (value[i] < 0x20 || value[i] > 0x7E)
            return false;
    bool padded = length && (value[0] == ' ' || value[length - 1] == ' ');
    bool encoded = length > 11 && memcmp(value, "=?base64?", 9) == 0 && memcmp(value + length - 2, "?=", 2) == 0;
    return length && !padded && !encoded;
}

void px_bridge_exchange_header(struct px_bridge_exchange *exchange, const char *name, const char *value, size_t length)
{
    px_buffer_printf(&exchange->own, "%s: ", name);
    if (is_plain(value, length)) {
        px_buffer_add(&exchange->own, value, length);
    } else {
        px_buffer_add_string(&exchange->own, "=?base64?");
        px_base64_encode(&exchange->own, value, length);
        px_buffer_add_string(&exchange->own, "?=");
    }
    px_buffer_add_byte(&exchange->own, '\0');
}

static bool add_header(struct px_bridge_exchange *exchange, const char *name, const char *value)
{
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "%s: %s", name, value);
    struct curl_slist *longer =
        px_buffer_ok(&line) ? curl_slist_append(exchange->headers, px_buffer_shown(&line)) : NULL;
    if (longer)
        exchange->headers = longer;
    return longer;
}

static bool make_headers(struct px_bridge_exchange *exchange)
{
    struct px_bridge *bridge = exchange->bridge;
    const char *name,
        *accepted = exchange->kind == PX_BRIDGE_LISTEN ? "text/event-stream" : "application/json, text/event-stream";
    json_t *value;
    bool in_session = !exchange->modern && exchange->kind != PX_BRIDGE_AGAIN &&
                      strcmp(exchange->method ? exchange->method : "", "initialize") != 0;
    bool good = px_buffer_ok(&exchange->own) && add_header(exchange, "Accept", accepted) &&
                add_header(exchange, "User-Agent", "pyexec/" PX_VERSION) && add_header(exchange, "Expect", "");
    if (good && exchange->body)
        good = add_header(exchange, "Content-Type", "application/json");
    if (good && in_session && *bridge->session)
        good = add_header(exchange, "Mcp-Session-Id", bridge->session);
    if (good && in_session && *bridge->version)
        good = add_header(exchange, "MCP-Protocol-Version", bridge->version);
    for (size_t at = 0; good && at < exchange->own.length; at += strlen(exchange->own.data + at) + 1) {
        struct curl_slist *longer = curl_slist_append(exchange->headers, exchange->own.data + at);
        exchange->headers = longer ? longer : exchange->headers;
        good = longer;
    }
    json_object_foreach(bridge->headers, name, value)
        good = good && add_header(exchange, name, json_string_value(value));
    return good;
}

/* ---- The response ---- */

static size_t break_off(struct px_bridge_exchange *exchange, const char *why)
{
    exchange->fault = why;
    return 0;
}

/* Returns true if the line is the header `name`, and copies its value. A value that is too long becomes "". */
static bool read_header(const char *line, size_t length, const char *name, char *ret, size_t size)
{
    size_t head = strlen(name);
    if (length <= head || strncasecmp(line, name, head) != 0 || line[head] != ':')
        return false;
    line += head + 1;
    length -= head + 1;
    while (length && (*line == ' ' || *line == '\t')) {
        line++;
        length--;
    }
    while (length && strchr(" \t\r\n", line[length - 1]))
        length--;
    if (length >= size || memchr(line, '\0', length))
        length = 0;
    memcpy(ret, line, length);
    ret[length] = '\0';
    return true;
}

static bool is_visible(const char *text)
{
    for (; *text; text++)
        if (*text < 0x21 || *text > 0x7E)
            return false;
    return true;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *closure)
{
    struct px_bridge_exchange *exchange = closure;
    char type[200];
    size_t length = size * count;
    exchange->header_bytes += length;
    if (exchange->header_bytes > PX_BRIDGE_HEADERS_MAX)
        return break_off(exchange, "its headers are longer than 256 KiB");
    if (length > 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        exchange->is_json = exchange->is_events = false;
        *exchange->session = '\0';
    } else if (read_header(bytes, length, "Content-Type", type, sizeof type)) {
        type[strcspn(type, "; \t")] = '\0';
        exchange->is_json = strcasecmp(type, "application/json") == 0;
        exchange->is_events = strcasecmp(type, "text/event-stream") == 0;
    } else if (read_header(bytes, length, "Mcp-Session-Id", exchange->session, sizeof exchange->session) &&
               !is_visible(exchange->session)) {
        return break_off(exchange, "its Mcp-Session-Id has characters that are not allowed");
    }
    return length;
}

static void take_event(void *closure, const struct px_sse_event *event)
{
    if (!*event->name || strcmp(event->name, "message") == 0)
        px_bridge_take_message(closure, event->data, event->length);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *closure)
{
    struct px_bridge_exchange *exchange = closure;
    size_t length = size * count;
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
    bool good = exchange->status >= 200 && exchange->status < 300;
    if (exchange->answered)
        return length;
    if (good && exchange->is_events) {
        exchange->stream_bytes += length;
        if (px_sse_events_feed(&exchange->events, bytes, length, PX_BRIDGE_MESSAGE_MAX, take_event, exchange) < 0)
            return break_off(exchange, "it sent an event longer than 16 MiB");
        if (exchange->answered)
            exchange->end_by_ns = px_now_ns() + AFTER_ANSWER_NS;
        else if (exchange->kind != PX_BRIDGE_LISTEN && exchange->stream_bytes > PX_BRIDGE_STREAM_MAX)
            return break_off(exchange, "it sent 64 MiB of events without answering");
    } else if (exchange->text.length + length <= (good ? PX_BRIDGE_MESSAGE_MAX : ERROR_TEXT_MAX)) {
        px_buffer_add(&exchange->text, bytes, length);
    } else if (good) {
        return break_off(exchange, "its answer is longer than 16 MiB");
    }
    return px_buffer_ok(&exchange->text) ? length : break_off(exchange, "pyexec has no memory for its answer");
}

/* ---- The transfer ---- */

static bool set_method(struct px_bridge_exchange *exchange)
{
    CURL *easy = exchange->easy;
    CURLcode bad;
    if (exchange->kind == PX_BRIDGE_LISTEN) {
        bad = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else if (exchange->kind == PX_BRIDGE_END) {
        bad = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    } else {
        bad = curl_easy_setopt(easy, CURLOPT_POST, 1L) | curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body) |
              curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body_length);
    }
    long most_ms = exchange->kind == PX_BRIDGE_NOTICE  ? NOTICE_MS
                   : exchange->kind == PX_BRIDGE_AGAIN ? AGAIN_MS
                   : exchange->kind == PX_BRIDGE_END   ? END_MS
                                                       : 0;
    return !bad && curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, most_ms) == CURLE_OK;
}

static bool set_options(struct px_bridge_exchange *exchange)
{
    CURL *easy = exchange->easy;
    const char *authorities = getenv("SSL_CERT_FILE");
    CURLcode bad = curl_easy_setopt(easy, CURLOPT_URL, exchange->bridge->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (authorities && *authorities)
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
    bad |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->curl_error);
    bad |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    bad |= curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    return !bad && set_method(exchange);
}

int px_bridge_exchange_send(struct px_bridge_exchange *exchange)
{
    drop_transfer(exchange);
    exchange->status = 0;
    exchange->header_bytes = exchange->stream_bytes = 0;
    exchange->fault = NULL;
    exchange->generation = exchange->bridge->generation;
    exchange->easy = curl_easy_init();
    if (exchange->easy && make_headers(exchange) && set_options(exchange) &&
        curl_multi_add_handle(exchange->bridge->multi, exchange->easy) == CURLM_OK)
        return 0;
    if (exchange->easy)
        curl_easy_cleanup(TAKE_PTR(exchange->easy));
    return -1;
}

/* ---- The end of a request ---- */

/* Returns true if both addresses have the same scheme, host and port. */
static bool has_same_origin(const char *url, const char *other)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *handles[] = {curl_url(), curl_url()};
    bool same = handles[0] && handles[1] && !curl_url_set(handles[0], CURLUPART_URL, url, 0) &&
                !curl_url_set(handles[1], CURLUPART_URL, other, 0);
    for (size_t i = 0; i < PX_COUNT(parts) && same; i++) {
        char *values[2] = {NULL, NULL};
        for (size_t side = 0; side < 2; side++)
            same = !curl_url_get(handles[side], parts[i], &values[side], CURLU_DEFAULT_PORT) && same;
        same = same && strcasecmp(values[0], values[1]) == 0;
        curl_free(values[0]);
        curl_free(values[1]);
    }
    curl_url_cleanup(handles[0]);
    curl_url_cleanup(handles[1]);
    return same;
}

/* Sends the request again if the response is a redirect that may be followed. Returns true if it did. */
static bool follow(struct px_bridge_exchange *exchange)
{
    char *target = NULL;
    if ((exchange->status != 307 && exchange->status != 308) || exchange->redirects == REDIRECTS_MAX ||
        curl_easy_getinfo(exchange->easy, CURLINFO_REDIRECT_URL, &target) != CURLE_OK || !target ||
        !has_same_origin(exchange->bridge->url, target))
        return false;
    char *url = strdup(target);
    if (!url)
        return false;
    free(exchange->bridge->url);
    exchange->bridge->url = url;
    exchange->redirects++;
    return px_bridge_exchange_send(exchange) == 0;
}

/* The text is libcurl's or pyexec's. Of the server it has at most the name. */
static const char *describe(const struct px_bridge_exchange *exchange, CURLcode code)
{
    if (exchange->fault)
        return exchange->fault;
    if (code == CURLE_PARTIAL_FILE || code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR)
        return "it ended the connection before its answer was complete";
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return "its certificate can't be verified (SSL_CERT_FILE names other authorities)";
    return *exchange->curl_error ? exchange->curl_error : curl_easy_strerror(code);
}

void px_bridge_exchange_over(struct px_bridge_exchange *exchange, CURLcode code)
{
    char why[CURL_ERROR_SIZE + 100];
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
    if (code == CURLE_OK && follow(exchange))
        return;
    if (code == CURLE_OK || exchange->answered) {
        px_bridge_finish(exchange, NULL);
        return;
    }
    snprintf(why, sizeof why, "%s", describe(exchange, code));
    px_bridge_finish(exchange, why);
}
