/* SPDX-License-Identifier: Apache-2.0 */
/* The process of pyexec-otlp: its start, a batch and its answer, its end. It gets lines over a socket that is its standard input
 * and output. If it dies, a batch is given to a new one, once. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "telemetry/telemetry_private.h"

#define RESTART_NS (1000 * PX_NS_PER_MS)
#define SENDER_READ_BYTES 4096u
#define ANSWER_MAX 65536u

void px_telemetry_sender_end(struct px_telemetry_sender *sender)
{
    int status;
    px_close_fd(&sender->socket);
    sender->in.length = 0;
    if (sender->pid > 1) {
        kill(sender->pid, SIGKILL);
        (void)!px_waitpid(sender->pid, &status, 0);
    }
    sender->pid = 0;
}

static int spawn(struct px_telemetry_sender *sender, int end)
{
    char *arguments[] = {sender->program, NULL};
    const int descriptors[] = {end, end};
    return px_libexec_spawn(&sender->pid, sender->program, arguments, environ, descriptors, PX_COUNT(descriptors));
}

/* Returns when this batch must be finished. The time is shorter when pyexec is ending. */
static int64_t deadline_of(struct px_telemetry *telemetry, int64_t wanted_ns)
{
    pthread_mutex_lock(&telemetry->lock);
    int64_t deadline = telemetry->closing && telemetry->end_ns < wanted_ns ? telemetry->end_ns : wanted_ns;
    pthread_mutex_unlock(&telemetry->lock);
    return deadline;
}

/* Waits for this event of the socket (socket -1: only for the time). Returns false when the deadline has passed. */
static bool await(struct px_telemetry *telemetry, int socket, short event, int64_t wanted_ns)
{
    bool told = false;
    for (;;) {
        int64_t left = deadline_of(telemetry, wanted_ns) - px_now_ns();
        /* The eventfd stays readable, so it is polled only once. */
        struct pollfd polled[] = {{socket, event, 0}, {told ? -1 : telemetry->wake, POLLIN, 0}};
        if (left <= 0)
            return false;
        if (px_poll(polled, PX_COUNT(polled), (int)(left / PX_NS_PER_MS) + 1) < 0)
            return false;
        if (polled[0].revents)
            return true;
        told |= polled[1].revents != 0;
    }
}

static bool write_all(struct px_telemetry *telemetry, const char *bytes, size_t length, int64_t end_ns)
{
    struct px_telemetry_sender *sender = &telemetry->sender;
    while (length) {
        ssize_t n = px_send(sender->socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN && await(telemetry, sender->socket, POLLOUT, end_ns))
            continue;
        if (n < 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

/* Starts the program, if it does not run. */
static bool start(struct px_telemetry *telemetry, int64_t end_ns)
{
    struct px_telemetry_sender *sender = &telemetry->sender;
    int ends[2];
    if (sender->pid)
        return true;
    if (sender->next_start_ns > px_now_ns())
        await(telemetry, -1, 0, sender->next_start_ns < end_ns ? sender->next_start_ns : end_ns);
    sender->next_start_ns = px_now_ns() + RESTART_NS;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    int failed = spawn(sender, ends[1]);
    close(ends[1]);
    sender->socket = ends[0];
    if (!failed && write_all(telemetry, sender->greeting, strlen(sender->greeting), end_ns))
        return true;
    px_telemetry_sender_end(sender);
    return false;
}

/* Reads the answer. Returns NULL when the program ended, or did not answer in time. */
static json_t *read_answer(struct px_telemetry *telemetry, int64_t end_ns)
{
    struct px_telemetry_sender *sender = &telemetry->sender;
    char *newline;
    while (!(newline = sender->in.length ? memchr(sender->in.data, '\n', sender->in.length) : NULL)) {
        char *room = sender->in.length < ANSWER_MAX ? px_buffer_reserve(&sender->in, SENDER_READ_BYTES) : NULL;
        if (!room || !await(telemetry, sender->socket, POLLIN, end_ns))
            return NULL;
        ssize_t n = px_recv(sender->socket, room, SENDER_READ_BYTES, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return NULL;
        sender->in.length += n > 0 ? (size_t)n : 0;
        room[n > 0 ? n : 0] = '\0';
    }
    size_t length = (size_t)(newline - sender->in.data);
    json_t *answer = px_json_loadb(sender->in.data, length, 0, NULL);
    px_buffer_consume(&sender->in, length + 1);
    return answer;
}

enum px_telemetry_outcome px_telemetry_send(struct px_telemetry *telemetry, const struct px_buffer *body,
                                            uint64_t *ret_rejected, char *why, size_t why_size)
{
    struct px_telemetry_sender *sender = &telemetry->sender;
    int64_t end_ns = px_now_ns() + sender->answer_ms * PX_NS_PER_MS;
    snprintf(why, why_size, "%s", "pyexec-otlp ends by itself, or can't be started");
    for (int try = 0; try < 2; try++) {
        if (!start(telemetry, end_ns))
            continue;
        px_auto_json json_t *answer =
            write_all(telemetry, body->data, body->length, end_ns) ? read_answer(telemetry, end_ns) : NULL;
        const char *reason = json_string_value(json_object_get(answer, "why"));
        if (reason)
            snprintf(why, why_size, "%s", reason);
        if (json_is_object(answer)) {
            json_int_t rejected = json_integer_value(json_object_get(answer, "rejected"));
            *ret_rejected = rejected > 0 ? (uint64_t)rejected : 0;
            return json_is_true(json_object_get(answer, "ok")) ? PX_TELEMETRY_EXPORTED : PX_TELEMETRY_FAILED;
        }
        bool late = px_now_ns() >= deadline_of(telemetry, end_ns);
        px_telemetry_sender_end(sender);
        if (late) {
            snprintf(why, why_size, "%s", "the collector did not answer in time");
            return PX_TELEMETRY_FAILED;
        }
    }
    return PX_TELEMETRY_FAILED;
}
