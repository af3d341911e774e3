/* SPDX-License-Identifier: Apache-2.0 */
/* Runs, their listeners, and the rows of their reports. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "egress/egress_private.h"

#define ACCEPT_PAUSE_MS 100
/* So that refused requests can't push the others out of a report. */
#define REFUSED_ROWS_MAX (PX_EGRESS_ROWS_MAX / 2)

static int compare_runs(const void *a, const void *b)
{
    uint64_t left = ((const struct egress_run *)a)->number, right = ((const struct egress_run *)b)->number;
    return (left > right) - (left < right);
}

struct egress_run *px_egress_run_find(struct egress *egress, uint64_t number)
{
    const struct egress_run wanted = {.number = number};
    void *found = tfind(&wanted, &egress->runs, compare_runs);
    return found ? *(struct egress_run **)found : NULL;
}

/* ---- Listeners ---- */

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                     void *data)
{
    (void)listener;
    (void)address;
    (void)length;
    px_egress_connection_new(data, fd);
}

/* Without descriptors, accept(2) would fail again at once: the connection stays in the queue. */
static void accept_failed(struct evconnlistener *listener, void *data)
{
    struct egress_run *run = data;
    const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    evconnlistener_disable(listener);
    evtimer_add(run->pause, &pause);
}

static void pause_over(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    struct egress_run *run = data;
    if (run->listener)
        evconnlistener_enable(run->listener);
}

static bool is_listener(int fd)
{
    int accepts = 0, type = 0, domain = 0;
    socklen_t length = sizeof accepts;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &length) == 0 && accepts &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && (domain == AF_INET || domain == AF_INET6);
}

/* Returns NULL, or what is wrong with the list. */
static const char *take_hosts(struct egress_run *run, const json_t *hosts)
{
    size_t count = json_array_size(hosts);
    if (!json_is_array(hosts) || count > PX_EGRESS_HOSTS_MAX)
        return "allowed_hosts is no list, or is too long";
    struct px_host_entry *entries = calloc(count ? count : 1, sizeof *entries);
    if (!entries)
        return "no memory";
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(hosts, i);
        if (!json_is_string(text) ||
            px_host_entry_parse(json_string_value(text), json_string_length(text), &entries[i])) {
            free(entries);
            return "allowed_hosts has something that is no NAME:PORT";
        }
    }
    run->hosts = entries;
    run->host_count = count;
    return NULL;
}

const char *px_egress_run_open(struct egress *egress, uint64_t number, int listener, const json_t *packet)
{
    px_auto_fd int fd = listener;
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (fd < 0)
        return "no descriptor arrived: the proxy may have too many open (RLIMIT_NOFILE)";
    if (!is_listener(fd) || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return "the descriptor is no listening TCP socket";
    if (egress->run_count >= PX_EGRESS_RUNS_MAX)
        return "too many runs are open";
    struct egress_run *run = calloc(1, sizeof *run);
    if (!run)
        return "no memory";
    run->egress = egress;
    run->number = number;
    run->pause = evtimer_new(egress->base, pause_over, run);
    const char *why = run->pause ? take_hosts(run, json_object_get(packet, "allowed_hosts")) : "no memory";
    if (!why)
        why =
            px_secret_uses_new(egress->secrets, json_object_get(packet, "secrets"), &run->secrets, &run->secret_count);
    /* A backlog of 0: it listens already. */
    if (!why && !(run->listener = evconnlistener_new(egress->base, accepted, run,
                                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd)))
        why = "no memory";
    if (!why)
        fd = -1;
    if (!why && !tsearch(run, &egress->runs, compare_runs))
        why = "no memory";
    egress->run_count++;
    if (why) {
        px_egress_run_free(run);
        return why;
    }
    evconnlistener_set_error_cb(run->listener, accept_failed);
    px_egress_packets_queue(run);
    return NULL;
}

/* When more than half of all connections are in use, a run gets no more than an equal part of them, and one part is left for the next run.
 * So no run can take all of them, and a run that is alone is not limited before. */
size_t px_egress_run_limit(const struct egress_run *run)
{
    const struct egress *egress = run->egress;
    size_t part = egress->max_connections / (egress->run_count + 1);
    if (egress->connection_count <= egress->max_connections / 2 || part >= egress->max_run_connections)
        return egress->max_run_connections;
    return part ? part : 1;
}

void px_egress_run_close(struct egress_run *run)
{
    while (run->connections)
        px_egress_connection_close(run->connections);
    if (run->listener)
        evconnlistener_free(run->listener);
    run->listener = NULL;
    run->closing = true;
    px_egress_packets_queue(run);
}

static void drop_rows(struct egress_run *run)
{
    for (size_t i = 0; i < run->row_count; i++)
        free(run->rows[i].text);
    run->row_count = 0;
    run->more = 0;
}

void px_egress_run_free(struct egress_run *run)
{
    while (run->connections)
        px_egress_connection_close(run->connections);
    tdelete(run, &run->egress->runs, compare_runs);
    run->egress->run_count--;
    if (run->listener)
        evconnlistener_free(run->listener);
    if (run->pause)
        event_free(run->pause);
    drop_rows(run);
    free(run->rows);
    free(run->hosts);
    px_secret_uses_free(run->secrets, run->secret_count);
    free(run);
}

void px_egress_runs_free(struct egress *egress)
{
    while (egress->runs)
        px_egress_run_free(*(struct egress_run **)egress->runs);
    px_secrets_free(egress->secrets);
    px_authority_free(egress->authority);
}

/* ---- Rows ---- */

static struct egress_row *find_row(struct egress_run *run, const char *host, uint16_t port, enum egress_why why)
{
    size_t refused = 0;
    for (size_t i = 0; i < run->row_count; i++) {
        struct egress_row *row = &run->rows[i];
        if (row->why == why && row->port == port && strcmp(row->host, host) == 0)
            return row;
        refused += row->why != EGRESS_WHY_NONE;
    }
    size_t used = why == EGRESS_WHY_NONE ? run->row_count - refused : refused;
    if (used >= (why == EGRESS_WHY_NONE ? PX_EGRESS_ROWS_MAX - REFUSED_ROWS_MAX : REFUSED_ROWS_MAX))
        return NULL;
    if (run->row_count == run->row_room) {
        size_t room = run->row_room ? run->row_room * 2 : 4;
        struct egress_row *rows = realloc(run->rows, room * sizeof *rows);
        if (!rows)
            return NULL;
        run->rows = rows;
        run->row_room = room;
    }
    struct egress_row *row = &run->rows[run->row_count++];
    *row = (struct egress_row){.port = port, .why = why};
    memcpy(row->host, host, strlen(host) + 1);
    return row;
}

int px_egress_run_count(struct egress_run *run, const char *host, uint16_t port, enum egress_why why,
                        const struct sockaddr *address, const char *text)
{
    size_t before = run->row_count;
    struct egress_row *row = find_row(run, host, port, why);
    if (!row) {
        run->more++;
        return -1;
    }
    row->connections++;
    if (address)
        px_ip_address_format(address, row->address, sizeof row->address);
    if (run->row_count > before && why < EGRESS_WHY_DENIALS) {
        row->text = strdup(text ? text : "");
        px_egress_packets_queue(run);
    }
    return (int)(row - run->rows);
}

void px_egress_run_add_bytes(struct egress_connection *connection, uint64_t sent, uint64_t received)
{
    struct egress_run *run = connection->run;
    /* The connection is older than this report. */
    if (connection->row < 0 && connection->counted) {
        struct egress_row *row = find_row(run, connection->target.name, connection->target.port, EGRESS_WHY_NONE);
        connection->row = row ? (int)(row - run->rows) : -1;
    }
    if (connection->row < 0)
        return;
    run->rows[connection->row].sent += sent;
    run->rows[connection->row].received += received;
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *px_egress_run_opened(const struct egress_run *run)
{
    return json_pack("{s:s, s:I}", "event", "opened", "run", (json_int_t)run->number);
}

json_t *px_egress_run_denied(struct egress_run *run, struct egress_row *row)
{
    return json_pack("{s:s, s:I, s:s, s:i, s:s, s:o, s:s}", "event", "denied", "run", (json_int_t)run->number, "host",
                     row->host, "port", row->port, "why", px_egress_why_name(row->why), "address",
                     text_or_null(row->address), "text", row->text);
}

static json_t *row_to_json(const struct egress_row *row)
{
    const char *verdict = row->why == EGRESS_WHY_NONE ? "allowed" : row->why < EGRESS_WHY_DENIALS ? "denied" : "failed";
    return json_pack("{s:s, s:i, s:s, s:o, s:o, s:I, s:I, s:I}", "host", row->host, "port", row->port, "verdict",
                     verdict, "why", text_or_null(px_egress_why_name(row->why)), "address", text_or_null(row->address),
                     "connections", (json_int_t)row->connections, "sent", (json_int_t)row->sent, "received",
                     (json_int_t)row->received);
}

json_t *px_egress_run_report(struct egress_run *run)
{
    json_t *hosts = json_array();
    for (size_t i = 0; i < run->row_count; i++)
        px_json_append(hosts, row_to_json(&run->rows[i]));
    json_t *report = json_pack("{s:s, s:I, s:b, s:o, s:I}", "event", "report", "run", (json_int_t)run->number, "last",
                               run->closing, "hosts", hosts, "more", (json_int_t)run->more);
    drop_rows(run);
    for (struct egress_connection *connection = run->connections; connection; connection = connection->next)
        connection->row = -1;
    run->report_wanted = false;
    return report;
}
