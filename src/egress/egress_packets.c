/* SPDX-License-Identifier: Apache-2.0 */
/* Packets from and to the host. What must be told is kept as the state of runs and rows, and so there is no queue that could grow while
 * the host does not read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "egress/egress_private.h"

#define RUN_NUMBER_MAX (INT64_C(1) << 53)
#define PACKET_FDS_MAX 2 /* of "authority"; the other packets have one or none */

/* The host does not keep to the protocol, or there is no memory. Nothing can be opened any more: the program ends. */
static void fail(struct egress *egress, const char *what)
{
    fprintf(stderr, "pyexec-egress: %s\n", what);
    egress->failed = true;
    event_base_loopbreak(egress->base);
}

/* ---- To the host ---- */

/* Returns 1 if it was sent, 0 if the socket is full, -1 if it can't be sent. Takes the packet. */
static int send_packet(json_t *packet, int flags)
{
    px_auto_free char *text = px_json_take_text(packet);
    errno = ENOMEM;
    if (!text)
        return -1;
    if (px_send(PX_EGRESS_FD, text, strlen(text), MSG_NOSIGNAL | flags) >= 0)
        return 1;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
}

int px_egress_packets_send_now(struct egress *egress, json_t *packet)
{
    int sent = send_packet(packet, 0);
    if (sent < 1)
        fail(egress, "the host can't be answered");
    return sent < 1 ? -1 : 0;
}

static int tell_opened(struct egress_run *run)
{
    int sent = run->opened_told ? 1 : send_packet(px_egress_run_opened(run), MSG_DONTWAIT);
    run->opened_told = sent == 1;
    return sent;
}

static int tell_denials(struct egress_run *run)
{
    for (size_t i = 0; i < run->row_count; i++) {
        struct egress_row *row = &run->rows[i];
        int sent = row->text ? send_packet(px_egress_run_denied(run, row), MSG_DONTWAIT) : 1;
        if (sent < 1)
            return sent;
        free(row->text);
        row->text = NULL;
    }
    return 1;
}

/* Returns 1 if there is nothing more to tell. The packet of a report is made again if it does not fit now, so it is taken only when the
 * socket has room. */
static int tell_report(struct egress_run *run)
{
    struct pollfd room = {.fd = PX_EGRESS_FD, .events = POLLOUT};
    if (!run->report_wanted && !run->closing)
        return 1;
    if (px_poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
        return 0;
    return send_packet(px_egress_run_report(run), 0);
}

static void tell_host(struct egress *egress)
{
    int sent = 1;
    for (struct egress_run *run; (run = egress->queue) != NULL;) {
        sent = tell_opened(run);
        if (sent == 1)
            sent = tell_denials(run);
        if (sent == 1)
            sent = tell_report(run);
        if (sent < 1)
            break;
        egress->queue = run->next_in_queue;
        if (!egress->queue)
            egress->queue_end = &egress->queue;
        run->in_queue = false;
        if (run->closing)
            px_egress_run_free(run);
    }
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN))
        event_base_loopbreak(egress->base); /* the host has ended */
    else if (sent < 0)
        fail(egress, "the host can't be told");
    else if (sent == 0)
        event_add(egress->host_writable, NULL);
}

static void host_writable(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    tell_host(data);
}

void px_egress_packets_queue(struct egress_run *run)
{
    struct egress *egress = run->egress;
    if (run->in_queue)
        return;
    run->in_queue = true;
    run->next_in_queue = NULL;
    *egress->queue_end = run;
    egress->queue_end = &run->next_in_queue;
    /* Not from here: the caller uses the run. */
    event_active(egress->host_writable, EV_WRITE, 0);
}

/* ---- From the host ---- */

static void host_ended(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    struct egress *egress = data;
    event_base_loopbreak(egress->base);
}

/* A process that the host forked may hold the socket open after the host has ended, so the host sends a pidfd of itself. Takes the descriptor.
 * A pidfd becomes readable when its process has ended (pidfd_open(2)). */
static void watch_host(struct egress *egress, int pidfd)
{
    if (pidfd < 0)
        return;
    egress->host_alive = event_new(egress->base, pidfd, EV_READ, host_ended, egress);
    egress->host_pidfd = pidfd;
    if (!egress->host_alive || event_add(egress->host_alive, NULL) < 0)
        fail(egress, "the host can't be watched");
}

/* Takes the descriptor. */
static void start(struct egress *egress, const json_t *packet, int pidfd)
{
    px_auto_fd int fd = pidfd;
    char why[256];
    if (egress->started) {
        fail(egress, "\"start\" came twice");
        return;
    }
    const char *problem = px_egress_start(egress, packet, why, sizeof why);
    egress->started = true;
    watch_host(egress, TAKE_FD(fd));
    if (problem) {
        (void)px_egress_packets_send_now(egress, json_pack("{s:s, s:s}", "event", "failed", "why", problem));
        fail(egress, problem);
        return;
    }
    json_t *missing = json_array();
    if (egress->missing)
        px_json_append(missing, json_string(egress->missing));
    (void)px_egress_packets_send_now(egress, json_pack("{s:s, s:o}", "event", "ready", "missing", missing));
}

static void open_run(struct egress *egress, uint64_t number, const json_t *packet, int listener)
{
    if (px_egress_run_find(egress, number)) {
        px_close_fd(&listener);
        fail(egress, "a run was opened twice");
        return;
    }
    const char *why = px_egress_run_open(egress, number, listener, packet);
    if (why)
        (void)px_egress_packets_send_now(
            egress, json_pack("{s:s, s:I, s:s}", "event", "failed", "run", (json_int_t)number, "why", why));
}

/* A run that is not known, or no longer, may have failed to open. */
static void change_run(struct egress *egress, const char *op, struct egress_run *run)
{
    const char *why = NULL;
    if (strcmp(op, "report") == 0) {
        if (run) {
            run->report_wanted = true;
            px_egress_packets_queue(run);
        }
    } else if (strcmp(op, "close") == 0) {
        if (run && !run->closing)
            px_egress_run_close(run);
    } else {
        why = "the host sent a packet that is not known";
    }
    if (why)
        fail(egress, why);
}

/* Takes the descriptors. */
static void take_packet(struct egress *egress, const char *text, size_t length, int *fds, size_t count)
{
    px_auto_json json_t *packet = px_json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *op = json_string_value(json_object_get(packet, "op"));
    json_int_t number = json_integer_value(json_object_get(packet, "run"));
    if (op && strcmp(op, "start") == 0)
        start(egress, packet, count ? TAKE_FD(fds[0]) : -1);
    else if (op && egress->started && strcmp(op, "authority") == 0)
        px_egress_secret_authority(egress, fds, count);
    else if (op && egress->started && strcmp(op, "secret") == 0)
        px_egress_secret_add(egress, packet, fds, count);
    else if (!op || !egress->started || number < 1 || number > RUN_NUMBER_MAX)
        fail(egress, "the host sent a packet that is not known");
    else if (strcmp(op, "open") == 0)
        open_run(egress, (uint64_t)number, packet, count ? TAKE_FD(fds[0]) : -1);
    else
        change_run(egress, op, px_egress_run_find(egress, (uint64_t)number));
    px_close_fds(fds, count);
}

static void host_readable(evutil_socket_t fd, short events, void *data)
{
    (void)events;
    struct egress *egress = data;
    int fds[PACKET_FDS_MAX];
    size_t count = 0;
    ssize_t length = px_receive_fds(fd, egress->packet, PX_EGRESS_PACKET_MAX, fds, PACKET_FDS_MAX, &count);
    if (length > 0)
        take_packet(egress, egress->packet, (size_t)length, fds, count);
    else if (length == 0 || errno == ECONNRESET)
        event_base_loopbreak(egress->base); /* the host has ended */
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        fail(egress, "a packet of the host can't be received");
}

int px_egress_packets_start(struct egress *egress)
{
    egress->queue_end = &egress->queue;
    egress->packet = malloc(PX_EGRESS_PACKET_MAX + 1);
    egress->host_readable = event_new(egress->base, PX_EGRESS_FD, EV_READ | EV_PERSIST, host_readable, egress);
    egress->host_writable = event_new(egress->base, PX_EGRESS_FD, EV_WRITE, host_writable, egress);
    if (!egress->packet || !egress->host_readable || !egress->host_writable)
        return -1;
    return event_add(egress->host_readable, NULL);
}

void px_egress_packets_done(struct egress *egress)
{
    if (egress->host_readable)
        event_free(egress->host_readable);
    if (egress->host_writable)
        event_free(egress->host_writable);
    if (egress->host_alive) {
        event_free(egress->host_alive);
        close(egress->host_pidfd);
    }
    free(egress->packet);
}
