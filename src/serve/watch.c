/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "serve/http.h"
#include "serve/sse.h"

#define TICK_MS 250

struct connection {
    struct connection *next, *previous;
    struct px_watch *watch; /* of the request that is served now, or NULL */
    bool hung_up;           /* the client has closed its end */
    int fd;                 /* libmicrohttpd's descriptor; open as long as this struct is in the list */
    int64_t deadline_ns;    /* 0: none */
    bool sends_body;        /* the body is arriving and there is no answer yet */
};

struct px_watch {
    struct px_watch *next, *previous;
    struct px_http_request *request;
    struct connection *connection; /* NULL: it is closed, or serves its next request */
};

struct px_watcher {
    pthread_mutex_t lock;
    pthread_t thread;
    int epoll, wake;
    int64_t patience_ns;
    px_watch_tick_fn on_tick;
    void *closure;
    bool stopping, ticking;
    struct connection *connections;
    size_t count;
    struct px_watch *watches;
};

/* The lock is held while events are read, so that each belongs to a request that is still watched. */
static void take_events(struct px_watcher *watcher)
{
    struct epoll_event event;
    while (px_epoll_wait(watcher->epoll, &event, 1, 0) == 1) {
        struct connection *connection = event.data.ptr;
        if (!connection) {
            if (!px_wake_take(watcher->wake))
                break;
            continue;
        }
        connection->hung_up = true;
        if (connection->watch)
            px_http_request_gone(connection->watch->request);
    }
}

/* libmicrohttpd is only reading at this time, so it can't send anything in between. */
static void say_too_slow(int fd)
{
    static const char body[] = "{\"type\": \"about:blank\", \"title\": \"the body comes too slowly\", "
                               "\"status\": 408, \"code\": \"request_timeout\", "
                               "\"hint\": \"Send it at 4 KiB a second or faster.\"}";
    char answer[512];
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
                          "Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                          sizeof body - 1, body);
    (void)!px_send(fd, answer, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* libmicrohttpd closes a connection after it has been shut down. */
static void tick(struct px_watcher *watcher, int64_t now)
{
    for (struct connection *at = watcher->connections; at; at = at->next)
        if (at->deadline_ns && at->deadline_ns <= now) {
            at->deadline_ns = 0;
            if (at->sends_body)
                say_too_slow(at->fd);
            shutdown(at->fd, SHUT_RDWR);
        }
    for (struct px_watch *at = watcher->watches; at; at = at->next)
        px_sse_tick(at->request, now);
    watcher->on_tick(watcher->closure, now);
}

static void *watch(void *argument)
{
    struct px_watcher *watcher = argument;
    int64_t ticked = px_now_ns();
    pthread_mutex_lock(&watcher->lock);
    while (!watcher->stopping) {
        watcher->ticking = watcher->connections != NULL;
        int timeout = watcher->ticking ? TICK_MS : -1;
        pthread_mutex_unlock(&watcher->lock);
        struct pollfd polled = {watcher->epoll, POLLIN, 0};
        int ready = px_poll(&polled, 1, timeout);
        pthread_mutex_lock(&watcher->lock);
        if (ready > 0)
            take_events(watcher);
        int64_t now = px_now_ns();
        if (now - ticked >= TICK_MS * INT64_C(1000000)) {
            tick(watcher, now);
            ticked = now;
        }
    }
    pthread_mutex_unlock(&watcher->lock);
    return NULL;
}

static void release(struct px_watcher *watcher)
{
    px_close_fd(&watcher->epoll);
    px_close_fd(&watcher->wake);
    pthread_mutex_destroy(&watcher->lock);
    free(watcher);
}

int px_watcher_new(int64_t patience_ns, px_watch_tick_fn on_tick, void *closure, struct px_watcher **ret,
                   pyexec_error *error)
{
    struct px_watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        return px_error_oom(error);
    watcher->patience_ns = patience_ns;
    watcher->on_tick = on_tick;
    watcher->closure = closure;
    pthread_mutex_init(&watcher->lock, NULL);
    watcher->epoll = epoll_create1(EPOLL_CLOEXEC);
    watcher->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    int failed =
        watcher->epoll < 0 || watcher->wake < 0 || epoll_ctl(watcher->epoll, EPOLL_CTL_ADD, watcher->wake, &event) < 0
            ? errno
            : pthread_create(&watcher->thread, NULL, watch, watcher);
    if (failed) {
        release(watcher);
        return px_error_errno(error, PYEXEC_INTERNAL, failed, "can't watch connections");
    }
    *ret = watcher;
    return 0;
}

void px_watcher_free(struct px_watcher *watcher)
{
    if (!watcher)
        return;
    pthread_mutex_lock(&watcher->lock);
    watcher->stopping = true;
    pthread_mutex_unlock(&watcher->lock);
    px_wake(watcher->wake);
    pthread_join(watcher->thread, NULL);
    release(watcher);
}

/* ---- Connections ---- */

static int descriptor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* With the lock held. EPOLLONESHOT: a client hangs up once. */
static void add_connection(struct px_watcher *watcher, struct connection *entry)
{
    entry->deadline_ns = px_now_ns() + watcher->patience_ns;
    entry->next = watcher->connections;
    if (entry->next)
        entry->next->previous = entry;
    watcher->connections = entry;
    watcher->count++;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = entry};
    epoll_ctl(watcher->epoll, EPOLL_CTL_ADD, entry->fd, &event); /* on failure its requests run to their ends */
    if (!watcher->ticking)
        px_wake(watcher->wake);
}

/* With the lock held. libmicrohttpd closes the descriptor afterwards. */
static void remove_connection(struct px_watcher *watcher, struct connection *entry)
{
    epoll_ctl(watcher->epoll, EPOLL_CTL_DEL, entry->fd, NULL);
    *(entry->previous ? &entry->previous->next : &watcher->connections) = entry->next;
    if (entry->next)
        entry->next->previous = entry->previous;
    if (entry->watch)
        entry->watch->connection = NULL;
    watcher->count--;
    free(entry);
}

void px_watch_connection(void *closure, struct MHD_Connection *connection, void **context,
                         enum MHD_ConnectionNotificationCode code)
{
    struct px_watcher *watcher = closure;
    struct connection *entry = *context;
    pthread_mutex_lock(&watcher->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED && (entry = calloc(1, sizeof *entry))) {
        entry->fd = descriptor_of(connection);
        *context = entry;
        add_connection(watcher, entry);
    } else if (code == MHD_CONNECTION_NOTIFY_CLOSED && entry) {
        remove_connection(watcher, entry);
        *context = NULL;
    }
    pthread_mutex_unlock(&watcher->lock);
}

static struct connection *entry_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void set_deadline(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t deadline_ns,
                         bool sends_body)
{
    struct connection *entry = entry_of(connection);
    pthread_mutex_lock(&watcher->lock);
    if (entry) {
        entry->deadline_ns = deadline_ns;
        entry->sends_body = sends_body;
    }
    pthread_mutex_unlock(&watcher->lock);
}

void px_watch_deadline(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t nanoseconds)
{
    set_deadline(watcher, connection, nanoseconds ? px_now_ns() + nanoseconds : 0, false);
}

void px_watch_body(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t deadline_ns)
{
    set_deadline(watcher, connection, deadline_ns, true);
}

size_t px_watch_count(struct px_watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    size_t count = watcher->count;
    pthread_mutex_unlock(&watcher->lock);
    return count;
}

/* ---- Requests ---- */

/* The request before it on this connection has its answer, so it needs its connection no longer. */
static void watch_on(struct connection *connection, struct px_watch *watch)
{
    if (connection->watch)
        connection->watch->connection = NULL;
    connection->watch = watch;
    watch->connection = connection;
    if (connection->hung_up)
        px_http_request_gone(watch->request);
}

void px_watch_request(struct px_watcher *watcher, struct px_http_request *request)
{
    struct connection *connection = entry_of(request->connection);
    struct px_watch *entry = calloc(1, sizeof *entry);
    if (!entry) /* the request is served, but its answer will not be read */
        return;
    entry->request = request;
    px_http_request_hold(request);
    pthread_mutex_lock(&watcher->lock);
    entry->next = watcher->watches;
    if (entry->next)
        entry->next->previous = entry;
    watcher->watches = entry;
    request->watch = entry;
    if (connection)
        watch_on(connection, entry);
    pthread_mutex_unlock(&watcher->lock);
}

void px_unwatch_request(struct px_watcher *watcher, struct px_http_request *request)
{
    pthread_mutex_lock(&watcher->lock);
    struct px_watch *entry = request->watch;
    request->watch = NULL;
    if (entry) {
        if (entry->connection)
            entry->connection->watch = NULL;
        *(entry->previous ? &entry->previous->next : &watcher->watches) = entry->next;
        if (entry->next)
            entry->next->previous = entry->previous;
    }
    pthread_mutex_unlock(&watcher->lock);
    if (!entry)
        return;
    free(entry);
    px_http_request_release(request);
}

void px_watch_cancel_all(struct px_watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    for (struct px_watch *at = watcher->watches; at; at = at->next)
        px_http_request_cancel(at->request);
    pthread_mutex_unlock(&watcher->lock);
}
