/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to NATS, and the messages that arrive. All answers come to one subscription, INBOX.GATEWAY.>; the rest of the
 * subject is the number of the waiter, the number of the request and the kind of the message. A thread of libnats puts each message
 * into the list of its waiter. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/spelling.h"
#include "base/trace_context.h"
#include "gateway/gateway.h"
#include "nats_link/nats_options.h"

#define RECONNECT_MS 100
#define JITTER_MS 100
#define PING_MS 5000 /* a server that does not answer three pings is left */
#define PENDING_BYTES (1 << 30)
#define CLOSE_MS 1000
#define ID_DIGITS 16
#define MESSAGE_OVERHEAD 1024     /* what a message takes besides its data: its headers, and libnats's own */
#define ACCEPTED_MAX 4096u        /* bytes of `accepted` */
#define REPEATED_BYTES (1u << 20) /* beyond these, messages that have come before are dropped */
#define WAITER_BYTES \
    (64u << 20) /* beyond these, the request fails: a node sends four messages ahead, and 256 KiB after each */

/* A line for the operator. What a NATS server sends may have any bytes. */
static void print(const char *what, const char *detail)
{
    char text[600];
    snprintf(text, sizeof text - 1, "pyexec: %s%s%s", what, detail ? ": " : "", detail ? detail : "");
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    size_t end = strlen(text);
    text[end] = '\n';
    (void)!px_write_all(STDERR_FILENO, text, end + 1);
}

void px_gateway_tell(struct px_gateway *gateway, const char *what, const char *detail)
{
    pthread_mutex_lock(&gateway->log_lock);
    if (gateway->log)
        gateway->log(gateway->log_closure, what, detail);
    else
        print(what, detail);
    pthread_mutex_unlock(&gateway->log_lock);
}

void px_gateway_log_to(struct px_fleet *fleet, px_fleet_log_fn log, void *closure)
{
    struct px_gateway *gateway = (struct px_gateway *)fleet;
    pthread_mutex_lock(&gateway->log_lock);
    gateway->log = log;
    gateway->log_closure = closure;
    pthread_mutex_unlock(&gateway->log_lock);
}

/* ---- Waiters ---- */

static int open_waiters(struct px_gateway *gateway)
{
    gateway->waiters = calloc(PX_GATEWAY_WAITERS_MAX, sizeof *gateway->waiters);
    for (size_t i = PX_GATEWAY_WAITERS_MAX; gateway->waiters && i--;) {
        struct px_waiter *waiter = &gateway->waiters[i];
        waiter->gateway = gateway;
        pthread_mutex_init(&waiter->lock, NULL);
        px_cond_init(&waiter->arrived);
        waiter->next_free = gateway->free;
        gateway->free = waiter;
    }
    return gateway->waiters ? 0 : -1;
}

/* The number of a request is random: a node that has seen the reply subject of one can't answer others. */
struct px_waiter *px_waiter_take(struct px_gateway *gateway)
{
    unsigned long long number;
    if (px_random_bytes(&number, sizeof number) < 0)
        return NULL;
    pthread_mutex_lock(&gateway->lock);
    struct px_waiter *waiter = gateway->free;
    if (waiter)
        gateway->free = waiter->next_free;
    pthread_mutex_unlock(&gateway->lock);
    if (!waiter)
        return NULL;
    pthread_mutex_lock(&waiter->lock);
    waiter->number = number ? number : 1;
    waiter->highest = 0;
    waiter->flooded = false;
    pthread_mutex_unlock(&waiter->lock);
    return waiter;
}

void px_message_free(struct px_message *message)
{
    if (message->waiter) {
        message->waiter->held -= message->bytes;
        message->waiter->gateway->held -= message->bytes;
    }
    natsMsg_Destroy(message->message);
    free(message);
}

void px_waiter_give(struct px_gateway *gateway, struct px_waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    struct px_message *at = TAKE_PTR(waiter->first);
    waiter->number = 0;
    pthread_mutex_unlock(&waiter->lock);
    while (at) {
        struct px_message *next = at->next;
        px_message_free(at);
        at = next;
    }
    pthread_mutex_lock(&gateway->lock);
    waiter->next_free = gateway->free;
    gateway->free = waiter;
    pthread_mutex_unlock(&gateway->lock);
}

struct px_message *px_waiter_next(struct px_waiter *waiter, const struct px_fleet_call *call, int64_t until_ns)
{
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->first && !waiter->flooded && !call->cancelled &&
           px_cond_wait_until(&waiter->arrived, &waiter->lock, until_ns) == 0)
        ;
    struct px_message *message = waiter->first;
    if (message)
        waiter->first = message->next;
    pthread_mutex_unlock(&waiter->lock);
    return message;
}

void px_waiter_wake(struct px_fleet *fleet, const struct px_fleet_call *call)
{
    const struct px_gateway *gateway = (const struct px_gateway *)fleet;
    long at = call->waits_at;
    if (!at)
        return;
    struct px_waiter *waiter = &gateway->waiters[at - 1];
    pthread_mutex_lock(&waiter->lock);
    pthread_cond_broadcast(&waiter->arrived);
    pthread_mutex_unlock(&waiter->lock);
}

/* ---- Messages ---- */

const char *px_gateway_header(natsMsg *message, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(message, name, &value) == NATS_OK ? value : NULL;
}

bool px_gateway_number(natsMsg *message, const char *name, unsigned long long *ret)
{
    const char *value = px_gateway_header(message, name);
    *ret = value ? strtoull(value, NULL, 10) : 0;
    return value;
}

bool px_gateway_accepted(const char *data, size_t length, char *ret_subject, size_t size)
{
    px_auto_json json_t *told = length > ACCEPTED_MAX ? NULL : px_json_read(data, length, 0, NULL);
    const char *node = json_string_value(json_object_get(told, "node")),
               *request = json_string_value(json_object_get(told, "request"));
    bool good = px_word_is_plain(node, PX_NODE_NAME_MAX) && px_word_is_plain(request, PX_NODE_NAME_MAX);
    if (good)
        snprintf(ret_subject, size, "pyexec.v1.node.%s.r.%s", node, request);
    return good;
}

/* A node has accepted a request for which nobody waits any more. */
static void cancel_late(struct px_gateway *gateway, natsMsg *message)
{
    char subject[PX_GATEWAY_SUBJECT_SIZE];
    const char *event = px_gateway_header(message, "Pyexec-Event");
    if (!event || strcmp(event, "accepted") != 0 ||
        !px_gateway_accepted(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), subject,
                             sizeof subject - sizeof ".cancel"))
        return;
    strcat(subject, ".cancel");
    (void)!px_gateway_say(gateway, subject, NULL, PX_MESSAGE_ANSWER, NULL, 0, NULL, 0);
}

/* Needs the lock of the waiter. A node sends a few messages ahead and repeats them until they are acknowledged. Repeated ones are dropped
 * while others wait, because the node sends them again. Only a broken node sends more. */
static bool admit(struct px_waiter *waiter, struct px_message *message)
{
    unsigned long long number;
    bool numbered = px_gateway_number(message->message, "Pyexec-Seq", &number);
    if (numbered && number <= waiter->highest && waiter->held > REPEATED_BYTES)
        return false;
    if (waiter->held + message->bytes > WAITER_BYTES) {
        waiter->flooded = true;
        pthread_cond_signal(&waiter->arrived);
    }
    if (waiter->flooded)
        return false;
    if (number > waiter->highest)
        waiter->highest = number;
    return true;
}

/* All requests together hold too much: the one that holds most fails, and not the one that gets the next message. A few messages of each
 * are always taken, since a good node sends no more ahead. Requests that fail give their bytes back soon. */
static void make_room(struct px_gateway *gateway)
{
    struct px_waiter *most = NULL;
    size_t ending = 0;
    if (gateway->held <= PX_GATEWAY_HELD_MAX)
        return;
    for (size_t i = 0; i < PX_GATEWAY_WAITERS_MAX; i++) {
        struct px_waiter *waiter = &gateway->waiters[i];
        if (waiter->flooded)
            ending += waiter->held;
        else if (waiter->held > (most ? most->held : PX_GATEWAY_ALWAYS))
            most = waiter;
    }
    if (!most || gateway->held - ending <= PX_GATEWAY_HELD_MAX)
        return;
    pthread_mutex_lock(&most->lock);
    if (most->number && most->held > PX_GATEWAY_ALWAYS) {
        most->flooded = true;
        pthread_cond_signal(&most->arrived);
    }
    pthread_mutex_unlock(&most->lock);
}

static void put(struct px_gateway *gateway, struct px_waiter *waiter, unsigned long long number,
                struct px_message *message)
{
    pthread_mutex_lock(&waiter->lock);
    bool wanted = number && waiter->number == number; /* a waiter that nobody uses has the number 0 */
    bool taken = wanted && admit(waiter, message);
    if (taken) {
        message->waiter = waiter;
        waiter->held += message->bytes;
        gateway->held += message->bytes;
        *(waiter->first ? waiter->end : &waiter->first) = message;
        waiter->end = &message->next;
        pthread_cond_signal(&waiter->arrived);
    }
    pthread_mutex_unlock(&waiter->lock);
    if (taken) {
        make_room(gateway);
        return;
    }
    if (!wanted && message->kind != PX_MESSAGE_KEPT)
        cancel_late(gateway, message->message);
    px_message_free(message);
}

static void take_answer(natsConnection *connection, natsSubscription *subscription, natsMsg *got, void *closure)
{
    struct px_gateway *gateway = closure;
    unsigned long long number;
    unsigned long at;
    unsigned kind;
    (void)connection;
    (void)subscription;
    const char *rest = natsMsg_GetSubject(got) + strlen(gateway->inbox);
    struct px_message *message = malloc(sizeof *message);
    if (!message || sscanf(rest, ".%lu.%llu.%u", &at, &number, &kind) != 3 || at >= PX_GATEWAY_WAITERS_MAX) {
        natsMsg_Destroy(got);
        free(message);
        return;
    }
    *message = (struct px_message){.kind = (enum px_message_kind)kind,
                                   .message = got,
                                   .bytes = (size_t)natsMsg_GetDataLength(got) + MESSAGE_OVERHEAD};
    put(gateway, &gateway->waiters[at], number, message);
}

int px_gateway_say(struct px_gateway *gateway, const char *subject, const struct px_waiter *waiter,
                   enum px_message_kind kind, const struct px_fleet_header *headers, size_t count, const void *bytes,
                   size_t length)
{
    char reply[PX_GATEWAY_SUBJECT_SIZE];
    natsMsg *message = NULL;
    if (waiter)
        snprintf(reply, sizeof reply, "%s.%zu.%llu.%u", gateway->inbox, (size_t)(waiter - gateway->waiters),
                 waiter->number, kind);
    natsStatus status = natsMsg_Create(&message, subject, waiter ? reply : NULL, bytes, (int)length);
    for (size_t i = 0; status == NATS_OK && i < count; i++)
        if (headers[i].value)
            status = natsMsgHeader_Set(message, headers[i].name, headers[i].value);
    if (status == NATS_OK)
        status = natsConnection_PublishMsg(gateway->connection, message);
    natsMsg_Destroy(message);
    return status == NATS_OK ? 0 : -1;
}

void px_gateway_acknowledge(struct px_gateway *gateway, const char *reply)
{
    (void)natsConnection_Publish(gateway->connection, reply, NULL, 0);
}

/* ---- The connection ---- */

bool px_gateway_link_is_up(struct px_gateway *gateway)
{
    return natsConnection_Status(gateway->connection) == NATS_CONN_STATUS_CONNECTED;
}

void px_gateway_count(struct px_fleet *fleet, struct px_fleet_counts *ret)
{
    struct px_gateway *gateway = (struct px_gateway *)fleet;
    natsStatistics *statistics = NULL;
    uint64_t ignored;
    *ret = (struct px_fleet_counts){.waiting = gateway->waiting};
    for (size_t i = 0; i < PX_EXCHANGE_END_COUNT; i++)
        ret->ends[i] = gateway->ends[i];
    if (natsStatistics_Create(&statistics) == NATS_OK &&
        natsConnection_GetStats(gateway->connection, statistics) == NATS_OK)
        (void)natsStatistics_GetCounts(statistics, &ignored, &ignored, &ignored, &ignored, &ret->reconnects);
    natsStatistics_Destroy(statistics);
}

void px_gateway_denied(struct px_gateway *gateway, char *ret, size_t size)
{
    pthread_mutex_lock(&gateway->lock);
    snprintf(ret, size, "%s", gateway->denied);
    pthread_mutex_unlock(&gateway->lock);
}

static void note_connected(natsConnection *connection, void *closure)
{
    struct px_gateway *gateway = closure;
    char url[256] = "";
    pthread_mutex_lock(&gateway->lock);
    *gateway->denied = '\0'; /* the rights may be others now */
    pthread_mutex_unlock(&gateway->lock);
    natsConnection_GetConnectedUrl(connection, url, sizeof url);
    px_gateway_tell(gateway, "connected to NATS", url);
}

static void note_disconnected(natsConnection *connection, void *closure)
{
    (void)connection;
    px_gateway_tell(closure, "the connection to NATS is lost; connecting again", NULL);
}

/* A server may repeat an error (a missing permission) for each message. */
static void note_error(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *closure)
{
    struct px_gateway *gateway = closure;
    const char *detail = NULL;
    char text[sizeof gateway->denied];
    (void)subscription;
    natsConnection_GetLastError(connection, &detail);
    snprintf(text, sizeof text, "%s", detail && *detail ? detail : natsStatus_GetText(status));
    pthread_mutex_lock(&gateway->lock);
    bool fresh = strcmp(text, gateway->denied) != 0;
    memcpy(gateway->denied, text, sizeof text);
    pthread_mutex_unlock(&gateway->lock);
    if (fresh)
        px_gateway_tell(gateway, "the NATS server refuses", text);
}

/* Nothing may wait for the connection to come back: a request whose client has given up would then start. */
static natsStatus set_life(struct px_gateway *gateway, bool now)
{
    natsOptions *options = gateway->options;
    const natsStatus all[] = {
        natsOptions_SetName(options, "pyexec gateway"),
        natsOptions_SetSendAsap(options, true),
        natsOptions_SetMaxReconnect(options, -1),
        natsOptions_SetReconnectWait(options, RECONNECT_MS),
        natsOptions_SetReconnectJitter(options, JITTER_MS, JITTER_MS),
        natsOptions_SetReconnectBufSize(options, 0),
        natsOptions_SetPingInterval(options, PING_MS),
        natsOptions_SetMaxPingsOut(options, 3),
        now ? NATS_OK : natsOptions_SetRetryOnFailedConnect(options, true, note_connected, gateway),
        now ? NATS_OK : natsOptions_SetReconnectedCB(options, note_connected, gateway),
        now ? NATS_OK : natsOptions_SetDisconnectedCB(options, note_disconnected, gateway),
        natsOptions_SetErrorHandler(options, note_error, gateway),
    };
    for (size_t i = 0; i < PX_COUNT(all); i++)
        if (all[i] != NATS_OK)
            return all[i];
    return NATS_OK;
}

static natsStatus connect_to(struct px_gateway *gateway, const json_t *config, bool now)
{
    natsStatus status = nats_Open(-1);
    if (status == NATS_OK)
        status = natsOptions_Create(&gateway->options);
    if (status == NATS_OK)
        status = px_nats_options_set(gateway->options, config);
    if (status == NATS_OK)
        status = set_life(gateway, now);
    if (status == NATS_OK)
        status = natsConnection_Connect(&gateway->connection, gateway->options);
    if (status == NATS_OK && !now)
        note_connected(gateway->connection, gateway);
    else if (status == NATS_NOT_YET_CONNECTED)
        px_gateway_tell(gateway, "no NATS server can be reached yet; trying again", NULL);
    return status == NATS_NOT_YET_CONNECTED ? NATS_OK : status;
}

int px_gateway_link_open(struct px_gateway *gateway, const json_t *config, bool now, char *problem, size_t size)
{
    char id[ID_DIGITS + 1], pattern[sizeof gateway->inbox + 2];
    const char *prefix = json_string_value(json_object_get(config, "inbox_prefix"));
    natsStatus status = NATS_NO_MEMORY;
    sigset_t all, before;
    sigfillset(&all); /* the threads of libnats inherit it; signals are for the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (open_waiters(gateway) == 0 && px_trace_make_id(id, ID_DIGITS) == 0) {
        snprintf(gateway->inbox, sizeof gateway->inbox, "%.128s.%s", prefix ? prefix : "_INBOX", id);
        snprintf(pattern, sizeof pattern, "%s.>", gateway->inbox);
        status = connect_to(gateway, config, now);
    }
    if (status == NATS_OK)
        status = natsConnection_Subscribe(&gateway->answers, gateway->connection, pattern, take_answer, gateway);
    if (status == NATS_OK)
        status = natsSubscription_SetPendingLimits(gateway->answers, -1, PENDING_BYTES);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status == NATS_OK)
        return 0;
    const char *detail = nats_GetLastError(NULL);
    snprintf(problem, size, "%s%s%s", natsStatus_GetText(status), detail && *detail ? ": " : "", detail ? detail : "");
    return -1;
}

bool px_gateway_link_close(struct px_gateway *gateway)
{
    natsSubscription_Destroy(gateway->answers);
    natsConnection_Destroy(gateway->connection);
    natsOptions_Destroy(gateway->options);
    if (nats_CloseAndWait(CLOSE_MS) != NATS_OK)
        return false;
    for (size_t i = 0; gateway->waiters && i < PX_GATEWAY_WAITERS_MAX; i++) {
        pthread_cond_destroy(&gateway->waiters[i].arrived);
        pthread_mutex_destroy(&gateway->waiters[i].lock);
    }
    free(gateway->waiters);
    return true;
}
