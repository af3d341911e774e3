/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to NATS. libnats lets this program's loop watch its socket (natsOptions_SetEventLoop). Its callbacks also come from
 * its own threads, which connect again, so they only note what they want; px_link_watch() does it. The loop watches a copy of the
 * descriptor: libnats may close its own at any time, and the number could then be that of another socket. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "nats_link/nats_options.h"
#include "worker/worker.h"

#define LINK_UNSENT_MAX (32u << 20) /* bytes for the NATS server above which answers wait */
#define LINK_UNSENT_AWAY (8 << 20)  /* the same while the connection is away; more is lost */
#define LINK_BUFFER_BYTES 65536
#define LINK_RECONNECT_MS 100
#define LINK_JITTER_MS 100
#define LINK_PING_MS 2000
#define LINK_PINGS 5 /* a server that does not answer so many is left */
#define LINK_DRAIN_MS 10000

static pthread_t loop_thread;

static void wake(struct px_link *link)
{
    if (!pthread_equal(pthread_self(), loop_thread))
        px_wake(link->wake_fd);
}

static void close_passed(struct px_link *link)
{
    int passed = atomic_exchange(&link->socket, -1);
    if (passed >= 0)
        close(passed);
}

static natsStatus attach(void **ret, void *loop, natsConnection *connection, natsSock socket)
{
    struct px_link *link = loop;
    *ret = link;
    (void)connection;
    int copy = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return NATS_SYS_ERROR;
    close_passed(link);
    link->wants_write = false;
    link->wants_read = true;
    link->socket = copy;
    wake(link);
    return NATS_OK;
}

static natsStatus want_read(void *data, bool add)
{
    struct px_link *link = data;
    link->wants_read = add;
    wake(link);
    return NATS_OK;
}

static natsStatus want_write(void *data, bool add)
{
    struct px_link *link = data;
    link->wants_write = add;
    wake(link);
    return NATS_OK;
}

static natsStatus detach(void *data)
{
    struct px_link *link = data;
    link->wants_read = link->wants_write = false;
    wake(link);
    return NATS_OK;
}

/* ---- What libnats reports, on a thread of its own ---- */

static void note_connected(natsConnection *connection, void *data)
{
    char url[256] = "";
    struct px_link *link = data;
    natsConnection_GetConnectedUrl(connection, url, sizeof url);
    px_worker_say("connected to %s", url);
    link->connected = true;
    wake(link);
}

static void note_disconnected(natsConnection *connection, void *data)
{
    struct px_link *link = data;
    (void)connection;
    if (link->connected && !link->closed)
        px_worker_say("the connection to NATS is lost; connecting again");
    link->connected = false;
    wake(link);
}

static void note_closed(natsConnection *connection, void *data)
{
    struct px_link *link = data;
    (void)connection;
    link->closed = true;
    wake(link);
}

/* A server may repeat an error (a missing permission) for each message. */
static void note_error(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *data)
{
    static _Thread_local char last[256];
    char text[256];
    const char *detail = NULL;
    (void)data;
    natsConnection_GetLastError(connection, &detail);
    snprintf(text, sizeof text, "NATS: %s%s%s%s%s", natsStatus_GetText(status), subscription ? ": " : "",
             subscription ? natsSubscription_GetSubject(subscription) : "", detail && *detail ? ": " : "",
             detail ? detail : "");
    if (strcmp(text, last) != 0)
        px_worker_say("%s", text);
    memcpy(last, text, sizeof last);
}

/* ---- Messages with a callback ----
 *
 * Most topics are read by the loop (natsSubscription_NextMsg()), which needs no other thread. That function drops the message
 * "no responders" without its subject. So topics that may get it have a callback, on a thread of libnats. */

struct px_arrived {
    struct px_arrived *next;
    enum px_topic_kind kind;
    natsMsg *message;
};

static bool has_callback(const struct px_topic *topic)
{
    return topic->kind == PX_TOPIC_ABOUT || topic->kind == PX_TOPIC_REPLY;
}

static void take_arrived(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    const struct px_topic *topic = closure;
    struct px_link *link = &topic->worker->link;
    struct px_arrived *arrived = malloc(sizeof *arrived);
    (void)connection;
    (void)subscription;
    if (!arrived) {
        natsMsg_Destroy(message);
        return;
    }
    *arrived = (struct px_arrived){NULL, topic->kind, message};
    pthread_mutex_lock(&link->lock);
    *(link->arrived ? link->arrived_end : &link->arrived) = arrived;
    link->arrived_end = &arrived->next;
    pthread_mutex_unlock(&link->lock);
    px_wake(link->wake_fd);
}

static void read_arrived(struct px_worker *worker, bool wanted)
{
    struct px_link *link = &worker->link;
    pthread_mutex_lock(&link->lock);
    struct px_arrived *at = TAKE_PTR(link->arrived);
    pthread_mutex_unlock(&link->lock);
    while (at) {
        struct px_arrived *next = at->next;
        if (wanted)
            px_node_take(worker, at->kind, at->message);
        natsMsg_Destroy(at->message);
        free(at);
        at = next;
    }
}

/* ---- Options ---- */

static natsStatus set_life(struct px_worker *worker, natsOptions *options)
{
    static char name[PX_NODE_NAME_MAX + 16];
    struct px_link *link = &worker->link;
    snprintf(name, sizeof name, "pyexec %s", worker->node);
    const natsStatus all[] = {
        natsOptions_SetName(options, name),
        natsOptions_SetEventLoop(options, link, attach, want_read, want_write, detach),
        natsOptions_SetSendAsap(options, true),
        natsOptions_SetIOBufSize(options, LINK_BUFFER_BYTES),
        natsOptions_SetMaxReconnect(options, -1),
        natsOptions_SetReconnectWait(options, LINK_RECONNECT_MS),
        natsOptions_SetReconnectJitter(options, LINK_JITTER_MS, LINK_JITTER_MS),
        natsOptions_SetReconnectBufSize(options, LINK_UNSENT_AWAY),
        natsOptions_SetPingInterval(options, LINK_PING_MS),
        natsOptions_SetMaxPingsOut(options, LINK_PINGS),
        natsOptions_SetRetryOnFailedConnect(options, true, note_connected, link),
        natsOptions_SetReconnectedCB(options, note_connected, link),
        natsOptions_SetDisconnectedCB(options, note_disconnected, link),
        natsOptions_SetClosedCB(options, note_closed, link),
        natsOptions_SetErrorHandler(options, note_error, link),
    };
    for (size_t i = 0; i < PX_COUNT(all); i++)
        if (all[i] != NATS_OK)
            return all[i];
    return NATS_OK;
}

static void wake_up(evutil_socket_t fd, short what, void *closure)
{
    (void)what;
    px_wake_take(fd);
    px_link_read_all(closure);
}

int px_link_open(struct px_worker *worker)
{
    struct px_link *link = &worker->link;
    loop_thread = pthread_self();
    pthread_mutex_init(&link->lock, NULL);
    link->socket = link->watched = -1;
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    link->wake = event_new(worker->base, link->wake_fd, EV_READ | EV_PERSIST, wake_up, worker);
    natsStatus status = link->wake && event_add(link->wake, NULL) == 0 ? nats_Open(-1) : NATS_NO_MEMORY;
    if (status == NATS_OK)
        status = natsOptions_Create(&link->options);
    if (status == NATS_OK)
        status = px_nats_options_set(link->options, worker->config);
    if (status == NATS_OK)
        status = set_life(worker, link->options);
    if (status == NATS_OK)
        status = natsConnection_Connect(&link->connection, link->options);
    if (status == NATS_OK)
        note_connected(link->connection, link);
    else if (status == NATS_NOT_YET_CONNECTED)
        px_worker_say("no NATS server can be reached yet; trying again");
    if (status == NATS_OK || status == NATS_NOT_YET_CONNECTED)
        return 0;
    const char *detail = nats_GetLastError(NULL);
    px_worker_say("can't connect to NATS: %s%s%s", natsStatus_GetText(status), detail && *detail ? ": " : "",
                  detail ? detail : "");
    return -1;
}

static void unwatch(struct px_link *link)
{
    if (link->read)
        event_free(link->read);
    if (link->write)
        event_free(link->write);
    link->read = link->write = NULL;
    link->reads = link->writes = false;
    px_close_fd(&link->watched);
}

void px_link_close(struct px_worker *worker)
{
    struct px_link *link = &worker->link;
    link->closed = true;
    natsConnection_Destroy(link->connection);
    natsOptions_Destroy(link->options);
    unwatch(link);
    nats_CloseAndWait(1000);
    close_passed(link);
    read_arrived(worker, false);
    if (link->wake)
        event_free(link->wake);
    px_close_fd(&link->wake_fd);
}

/* ---- The loop ---- */

static void on_read(evutil_socket_t fd, short what, void *closure)
{
    struct px_worker *worker = closure;
    (void)fd;
    (void)what;
    worker->link.heard_ns = px_now_ns();
    natsConnection_ProcessReadEvent(worker->link.connection);
    px_link_read_all(worker);
}

static void on_write(evutil_socket_t fd, short what, void *closure)
{
    struct px_worker *worker = closure;
    (void)fd;
    (void)what;
    natsConnection_ProcessWriteEvent(worker->link.connection);
}

static void set_watched(struct event *event, bool wanted, bool *watched)
{
    if (wanted == *watched || !event)
        return;
    *watched = wanted;
    (void)!(wanted ? event_add(event, NULL) : event_del(event));
}

void px_link_watch(struct px_worker *worker)
{
    struct px_link *link = &worker->link;
    int fresh = atomic_exchange(&link->socket, -1);
    if (fresh >= 0) {
        unwatch(link);
        px_sessions_connected(worker, px_now_ns() - link->heard_ns);
        link->watched = fresh;
        link->read = event_new(worker->base, fresh, EV_READ | EV_PERSIST, on_read, worker);
        link->write = event_new(worker->base, fresh, EV_WRITE | EV_PERSIST, on_write, worker);
    }
    /* Most messages fit into the socket at once, which saves two system calls and a turn of the loop. */
    if (link->wants_write && !link->writes && link->watched >= 0)
        natsConnection_ProcessWriteEvent(link->connection);
    set_watched(link->read, link->wants_read, &link->reads);
    set_watched(link->write, link->wants_write, &link->writes);
}

/* ---- Subscriptions ---- */

int px_link_subscribe(struct px_worker *worker, struct px_topic *topic)
{
    natsConnection *connection = worker->link.connection;
    natsStatus status;
    topic->worker = worker;
    if (has_callback(topic))
        status = topic->queue ? natsConnection_QueueSubscribe(&topic->open, connection, topic->subject, topic->queue,
                                                              take_arrived, topic)
                              : natsConnection_Subscribe(&topic->open, connection, topic->subject, take_arrived, topic);
    else
        status = topic->queue
                     ? natsConnection_QueueSubscribeSync(&topic->open, connection, topic->subject, topic->queue)
                     : natsConnection_SubscribeSync(&topic->open, connection, topic->subject);
    if (status == NATS_OK)
        return 0;
    px_worker_say("can't subscribe to %s: %s", topic->subject, natsStatus_GetText(status));
    topic->open = NULL;
    return -1;
}

/* libnats sends UNSUB and a PING. All messages before the PONG still come. */
void px_link_leave(struct px_topic *topic)
{
    if (natsSubscription_DrainTimeout(topic->open, LINK_DRAIN_MS) == NATS_OK)
        topic->leaving = topic->open;
    else
        natsSubscription_Destroy(topic->open);
    topic->open = NULL;
}

/* `which` may change while messages are handled. */
static void read_topic(struct px_worker *worker, struct px_topic *topic, natsSubscription **which)
{
    uint64_t count;
    natsSubscription *reading = *which;
    while (*which == reading && reading && natsSubscription_QueuedMsgs(reading, &count) == NATS_OK && count) {
        natsMsg *message = NULL;
        if (natsSubscription_NextMsg(&message, reading, 0) == NATS_OK)
            px_node_take(worker, topic->kind, message);
        natsMsg_Destroy(message);
    }
}

static void note_dropped(struct px_topic *topic)
{
    int64_t dropped = 0;
    if (!topic->open || natsSubscription_GetDropped(topic->open, &dropped) != NATS_OK || dropped == topic->dropped)
        return;
    px_worker_say("%s: %lld messages were dropped, because they came faster than they could be read", topic->subject,
                  (long long)(dropped - topic->dropped));
    topic->worker->figures->lost_received += (uint64_t)(dropped - topic->dropped);
    topic->dropped = dropped;
}

void px_link_read_all(struct px_worker *worker)
{
    read_arrived(worker, true);
    for (struct px_topic *topic = worker->topics; topic; topic = topic->next) {
        if (has_callback(topic)) {
            note_dropped(topic);
            continue;
        }
        read_topic(worker, topic, &topic->open);
        if (topic->leaving)
            read_topic(worker, topic, &topic->leaving);
        if (topic->leaving && natsSubscription_DrainCompletionStatus(topic->leaving) != NATS_ILLEGAL_STATE) {
            read_topic(worker, topic, &topic->leaving);
            natsSubscription_Destroy(topic->leaving);
            topic->leaving = NULL;
        }
        note_dropped(topic);
    }
}

/* ---- Messages ---- */

natsMsg *px_link_message(const char *subject, const char *reply, const struct px_header *headers, size_t count,
                         const void *bytes, size_t length)
{
    natsMsg *message = NULL;
    natsStatus status = natsMsg_Create(&message, subject, reply, bytes, (int)length);
    for (size_t i = 0; status == NATS_OK && i < count; i++)
        if (headers[i].value)
            status = natsMsgHeader_Set(message, headers[i].name, headers[i].value);
    if (status == NATS_OK)
        return message;
    natsMsg_Destroy(message);
    return NULL;
}

int px_link_send(struct px_worker *worker, natsMsg *message)
{
    natsStatus status = message ? natsConnection_PublishMsg(worker->link.connection, message) : NATS_NO_MEMORY;
    if (status == NATS_OK)
        return 0;
    worker->figures->lost_sent++;
    px_worker_say("a message to %s is lost: %s", message ? natsMsg_GetSubject(message) : "a client",
                  natsStatus_GetText(status));
    return -1;
}

int px_link_say(struct px_worker *worker, const char *subject, const char *reply, const struct px_header *headers,
                size_t count, const void *bytes, size_t length)
{
    natsMsg *message = px_link_message(subject, reply, headers, count, bytes, length);
    int result = px_link_send(worker, message);
    natsMsg_Destroy(message);
    return result;
}

const char *px_link_header(natsMsg *message, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(message, name, &value) == NATS_OK ? value : NULL;
}

size_t px_link_room(struct px_worker *worker)
{
    int64_t most = natsConnection_GetMaxPayload(worker->link.connection);
    if (most <= 0)
        most = 1 << 20; /* before the first connection; the default of NATS */
    if (most > 8 << 20)
        most = 8 << 20; /* "not recommended" above, says NATS */
    return most > 2 * PX_NODE_HEADROOM ? (size_t)most - PX_NODE_HEADROOM : (size_t)most / 2;
}

bool px_link_is_full(struct px_worker *worker)
{
    return natsConnection_Buffered(worker->link.connection) > (int)LINK_UNSENT_MAX;
}
