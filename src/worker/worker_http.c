/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests to the server on its private UNIX socket, with libcurl on kept-alive connections. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "worker/worker.h"

#define HTTP_CONNECTIONS_KEPT 1024L
#define HTTP_BUFFER_BYTES 65536L
#define SSE_EVENT_MAX (40u << 20) /* bytes of one event: a result of 32 MiB, and what JSON adds */
#define URL_START "http://localhost"

/* ---- libcurl and the loop ---- */

void px_node_http_reap(struct px_worker *worker)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(worker->multi, &left))) {
        char *request = NULL;
        CURLcode code = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request) == CURLE_OK)
            px_node_http_over((struct px_node_request *)(void *)request, code);
    }
}

static void on_socket(evutil_socket_t fd, short what, void *closure)
{
    struct px_worker *worker = closure;
    int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(worker->multi, fd, flags, &running);
    px_node_http_reap(worker);
}

static void on_timer(evutil_socket_t fd, short what, void *closure)
{
    struct px_worker *worker = closure;
    int running;
    (void)fd;
    (void)what;
    curl_multi_socket_action(worker->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    px_node_http_reap(worker);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *closure, void *assigned)
{
    struct px_worker *worker = closure;
    struct event *event = assigned;
    (void)easy;
    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short flags = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
        event = event_new(worker->base, fd, flags, on_socket, worker);
        if (!event || event_add(event, NULL) < 0)
            return -1;
    }
    curl_multi_assign(worker->multi, fd, event);
    return 0;
}

static int watch_time(CURLM *multi, long wait_ms, void *closure)
{
    struct px_worker *worker = closure;
    struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000};
    (void)multi;
    if (wait_ms < 0)
        return event_del(worker->curl_timer);
    return event_add(worker->curl_timer, &wait);
}

int px_node_http_open(struct px_worker *worker)
{
    worker->curl_timer = event_new(worker->base, -1, 0, on_timer, worker);
    if (!worker->curl_timer || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(worker->multi = curl_multi_init()))
        return -1;
    curl_multi_setopt(worker->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(worker->multi, CURLMOPT_SOCKETDATA, worker);
    curl_multi_setopt(worker->multi, CURLMOPT_TIMERFUNCTION, watch_time);
    curl_multi_setopt(worker->multi, CURLMOPT_TIMERDATA, worker);
    curl_multi_setopt(worker->multi, CURLMOPT_MAXCONNECTS, HTTP_CONNECTIONS_KEPT);
    return 0;
}

void px_node_http_close(struct px_worker *worker)
{
    if (worker->multi)
        curl_multi_cleanup(worker->multi);
    if (worker->curl_timer)
        event_free(worker->curl_timer);
    curl_global_cleanup();
}

/* ---- The response ---- */

/* Returns the value if the line is this header. */
static const char *header_value(const char *line, size_t length, const char *name, size_t *ret_length)
{
    size_t skip = strlen(name);
    if (length <= skip || strncasecmp(line, name, skip) != 0 || line[skip] != ':')
        return NULL;
    const char *value = line + skip + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    *ret_length = (size_t)(end - value);
    return value;
}

/* The headers of a response that the client gets. */
static const char *const passed_on[] = {"Content-Type",        "Retry-After",  "Content-Range", "ETag",
                                        "Content-Disposition", "X-Request-Id", "traceparent",   "Mcp-Session-Id"};

static size_t take_header(char *line, size_t size, size_t count, void *closure)
{
    struct px_node_request *request = closure;
    size_t length = size * count, value_length;
    const char *value;
    for (size_t i = 0; i < PX_COUNT(passed_on); i++)
        if ((value = header_value(line, length, passed_on[i], &value_length)) && value_length < 512)
            px_buffer_add_pair(&request->passed, passed_on[i], value, value_length);
    if (strncmp(line, "HTTP/", 5) == 0)
        px_buffer_done(&request->passed);
    return length;
}

static void take_event(void *closure, const struct px_sse_event *event)
{
    if (*event->name)
        px_node_event(closure, event);
}

/* Reserves memory for the whole answer before its first byte, so that of two answers neither waits for the other. */
static bool reserve(struct px_node_request *request)
{
    curl_off_t length = -1;
    curl_easy_getinfo(request->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    size_t wanted = length < 0 || length > PX_NODE_BODY_MAX ? PX_NODE_BODY_MAX : (size_t)length;
    return px_share_take(request, PX_GOODS_ANSWERS, wanted) == 0;
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *closure)
{
    struct px_node_request *request = closure;
    size_t length = size * count;
    if (!request->status) {
        const char *type = px_buffer_pair(&request->passed, "Content-Type");
        curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
        request->is_stream = request->status == 200 && type && strncmp(type, "text/event-stream", 17) == 0;
    }
    if (request->is_stream) {
        if (px_answer_is_full(request)) {
            request->paused = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        return px_sse_events_feed(&request->stream, bytes, length, SSE_EVENT_MAX, take_event, request) < 0 ? 0 : length;
    }
    if (!request->taken[PX_GOODS_ANSWERS] && !reserve(request)) {
        request->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (request->answer.length + length > PX_NODE_BODY_MAX) {
        request->too_long = true;
        return 0;
    }
    px_buffer_add(&request->answer, bytes, length);
    return px_buffer_ok(&request->answer) ? length : 0;
}

/* libcurl sends a request again if a kept connection ends before the first byte of the response (Curl_retry_request() in
 * lib/transfer.c). A run must not be sent twice. */
static int before_sending(void *closure, char *ip, char *local_ip, int port, int local_port)
{
    struct px_node_request *request = closure;
    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    bool again = request->sent;
    request->sent = true;
    return again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- The request ---- */

static int add_header(struct px_node_request *request, const char *line)
{
    struct curl_slist *longer = curl_slist_append(request->list, line);
    if (!longer)
        return -1;
    request->list = longer;
    return 0;
}

static int add_headers(struct px_node_request *request)
{
    const char *at = px_buffer_shown(&request->headers), *end = at + px_buffer_length(&request->headers);
    px_auto_buffer struct px_buffer principal = {0};
    if (request->principal) {
        px_buffer_printf(&principal, "Pyexec-Principal: %s", request->principal);
        if (!px_buffer_ok(&principal) || add_header(request, px_buffer_string(&principal)) < 0)
            return -1;
    }
    for (; at < end; at += strlen(at) + 1)
        if (add_header(request, at) < 0)
            return -1;
    return add_header(request, "Expect:");
}

static int set_body(struct px_node_request *request)
{
    CURL *easy = request->easy;
    if (strcmp(request->method, "GET") == 0)
        return 0;
    if (strcmp(request->method, "POST") != 0 &&
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) != CURLE_OK)
        return -1;
    if (strcmp(request->method, "DELETE") == 0)
        return 0;
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, px_buffer_shown(&request->body));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)px_buffer_length(&request->body));
    return 0;
}

int px_node_http_send(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    px_auto_buffer struct px_buffer url = {0};
    px_buffer_printf(&url, "%s%s", URL_START, request->path);
    request->easy = curl_easy_init();
    if (!request->easy || !px_buffer_ok(&url) || !px_buffer_ok(&request->headers) || !px_buffer_ok(&request->body) ||
        add_headers(request) < 0)
        return -1;
    CURL *easy = request->easy;
    /* Without the path of the socket, curl would connect to TCP port 80. */
    if (curl_easy_setopt(easy, CURLOPT_URL, px_buffer_string(&url)) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, worker->socket) != CURLE_OK)
        return -1;
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->list);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, HTTP_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)worker->idle_seconds);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, request);
    if (set_body(request) < 0 || curl_multi_add_handle(worker->multi, easy) != CURLM_OK)
        return -1;
    /* The callback of the timer asked to be called at once: do it now and save a turn of the loop. */
    int running;
    curl_multi_socket_action(worker->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    return 0;
}

void px_node_http_drop(struct px_node_request *request)
{
    if (request->easy) {
        curl_multi_remove_handle(request->worker->multi, request->easy);
        curl_easy_cleanup(request->easy);
    }
    request->easy = NULL;
    curl_slist_free_all(TAKE_PTR(request->list));
    px_buffer_done(&request->passed);
    px_sse_events_done(&request->stream);
}

void px_node_http_resume(struct px_node_request *request)
{
    if (!request->paused || !request->easy)
        return;
    request->paused = false;
    curl_easy_pause(request->easy, CURLPAUSE_CONT);
}
