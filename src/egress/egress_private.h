/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-egress: the proxy through which runs with allowed_hosts reach the network (protocol/egress.h, docs/network.md).
 *
 *   script ──HTTP──▶ client ▶ connection ▶ server ──▶ internet        egress_connection.c: the request, its stages, the end
 *                                │                                     egress_decide.c:     may this request be made?
 *                                ├─▶ lookup (egress_resolve.c)         egress_answer.c:     what the script is told
 *                                ├─▶ dial   (egress_dial.c)
 *                                ├─▶ tunnel (egress_tunnel.c)          bytes both ways, after a look at the first ones
 *                                ├─▶ secret (egress_secret.c)          a tunnel to a host with secrets: TLS ends here
 *                                └─▶ plain  (egress_plain.c)           one HTTP request and its response
 *   host ⇄ packets (egress_packets.c) ⇄ runs and rows of their reports (egress_runs.c)
 *
 * One thread and one event loop (libevent). **Hostile**: each byte of the script, of the servers and of the DNS. Trusted: the host.
 * Nothing is buffered without a limit: what one side sends is not read while the other side does not take it. */
#ifndef PX_EGRESS_EGRESS_PRIVATE_H
#define PX_EGRESS_EGRESS_PRIVATE_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/host_entry.h"
#include "base/ip_network.h"
#include "base/json.h"
#include "egress/http_body.h"
#include "egress/http_head.h"
#include "egress/http_target.h"
#include "egress/public_address.h"
#include "egress/secret_relay.h"
#include "protocol/egress.h"

/* Bytes that are read from one side before somebody takes them, and bytes that wait to be sent to the other side. Reading stops at
 * the second number, and starts again at the third. */
#define EGRESS_READ_MAX PX_HTTP_HEAD_MAX
#define EGRESS_WRITE_HIGH 131072
#define EGRESS_WRITE_LOW 32768
#define EGRESS_ADDRESSES_MAX 8        /* addresses of one name that are tried */
#define EGRESS_ATTEMPTS_MAX 4         /* of them at the same time */
#define EGRESS_LINGER_TIMEOUT_MS 5000 /* for the client to take the last bytes; at most the idle timeout */
#define EGRESS_UPSTREAM_CHECK_MS 2000 /* for the second look at a name that the upstream proxy resolves */
#define EGRESS_UPSTREAM_AUTH_MAX 1024

enum egress_why {
    EGRESS_WHY_HOST,
    EGRESS_WHY_PORT,
    EGRESS_WHY_ADDRESS,
    EGRESS_WHY_NAME_MISMATCH,
    EGRESS_WHY_PROTOCOL,
    EGRESS_WHY_LIMIT,
    EGRESS_WHY_DENIALS, /* the ones above are denials, the ones below failures */
    EGRESS_WHY_RESOLVE,
    EGRESS_WHY_CONNECT,
    EGRESS_WHY_TIMEOUT,
    EGRESS_WHY_UPSTREAM,
    EGRESS_WHY_NONE, /* allowed */
};

/* One row of a report. */
struct egress_row {
    char host[PX_HOST_NAME_MAX + 1];
    uint16_t port;
    enum egress_why why;
    char address[INET6_ADDRSTRLEN];
    char *text; /* of a denial that the host has not been told about */
    uint64_t connections, sent, received;
};

struct egress_connection;

struct egress_run {
    struct egress *egress;
    uint64_t number;
    struct evconnlistener *listener;
    struct event *pause; /* ends a pause in which nothing is accepted, because there are no descriptors */
    struct px_host_entry *hosts;
    size_t host_count;
    struct px_secret_use *secrets;
    size_t secret_count;
    struct egress_connection *connections;
    size_t connection_count;
    struct egress_row *rows;
    size_t row_count, row_room;
    uint64_t more;
    bool opened_told, report_wanted, closing;
    bool in_queue; /* of runs that have something to tell the host */
    struct egress_run *next_in_queue;
};

struct egress {
    struct event_base *base;
    struct event *host_readable, *host_writable, *host_alive;
    int host_pidfd; /* if host_alive is not NULL */
    char *packet;   /* PX_EGRESS_PACKET_MAX + 1 bytes */
    bool started, failed;
    const char *missing; /* a layer of the wall that is missing, or NULL */
    void *runs;          /* tsearch(3), by number */
    struct egress_run *queue, **queue_end;
    size_t run_count, connection_count;
    struct ares_addr_port_node *servers; /* of the DNS, from the last configuration that could be read; or NULL */

    struct px_authority *authority; /* NULL until "authority" */
    struct px_secret *secrets;

    /* From "start". */
    struct px_ip_network private_networks[PX_EGRESS_PRIVATE_MAX];
    size_t private_count;
    int64_t request_timeout_ms, resolve_timeout_ms, connect_timeout_ms, idle_timeout_ms;
    size_t max_connections, max_run_connections;
    char upstream_host[PX_HOST_NAME_MAX + 1]; /* "": there is none. It may be an IP address. */
    uint16_t upstream_port;
    char upstream_auth[EGRESS_UPSTREAM_AUTH_MAX]; /* the value of Proxy-Authorization, or "" */
};

/* What a connection does with its bytes. */
enum egress_mode {
    EGRESS_MODE_TUNNEL, /* passes them on: TLS, or an upgraded connection */
    EGRESS_MODE_PLAIN,  /* one HTTP request and its response */
    EGRESS_MODE_SECRET, /* ends TLS, and puts secrets into requests */
};

enum egress_stage {
    EGRESS_STAGE_HEAD,     /* reads the request */
    EGRESS_STAGE_RESOLVE,  /* waits for addresses */
    EGRESS_STAGE_CONNECT,  /* waits for the server, or the upstream proxy */
    EGRESS_STAGE_UPSTREAM, /* waits for the upstream proxy's answer to CONNECT */
    EGRESS_STAGE_PEEK,     /* CONNECT was answered; waits for the first bytes, which say what the tunnel carries */
    EGRESS_STAGE_RELAY,    /* passes bytes in both directions */
    EGRESS_STAGE_FLUSH,    /* sends the last bytes to the client */
    EGRESS_STAGE_LINGER, /* has sent them; reads what the client still sends, or a reset would destroy them on their way */
};

/* A connection to one address that is not made yet. */
struct egress_attempt {
    struct egress_connection *connection;
    struct event *event; /* NULL: there is none */
    int fd;
    size_t address; /* of the connection's addresses */
};

struct egress_connection {
    struct egress_run *run;
    struct egress_connection *next, **previous;
    struct bufferevent *client, *server;
    struct event *timer;
    enum egress_stage stage;
    enum egress_mode mode;
    int64_t active_ns; /* when bytes last went through */

    struct px_http_authority target;
    bool connect;   /* the request was CONNECT */
    bool counted;   /* its row has it */
    int row;        /* of the run's rows; -1: none */
    size_t scanned; /* px_http_head_length() */
    bool client_ended, server_ended, client_shut, server_shut;

    struct egress_lookup *lookup;
    bool to_upstream; /* the lookup and the addresses are the upstream proxy's */
    struct sockaddr_storage addresses[EGRESS_ADDRESSES_MAX];
    size_t address_count, address_next, address_used;
    struct egress_attempt attempts[EGRESS_ATTEMPTS_MAX];
    int dial_problem; /* errno of the last attempt that failed, or 0 */

    struct px_secret_relay *secret; /* EGRESS_MODE_SECRET */

    /* Plain. */
    struct px_buffer request; /* the head for the server, until it is connected */
    struct px_http_body request_body, response_body;
    bool response_started, answer_has_no_body, wants_upgrade;
    size_t response_scanned;
};

/* ---- egress_packets.c ---- */

/* Starts to read the host's packets. Returns 0, or -1. */
int px_egress_packets_start(struct egress *egress);
void px_egress_packets_done(struct egress *egress);
/* Has the run's news sent to the host. */
void px_egress_packets_queue(struct egress_run *run);
/* Sends one of the two first answers. */
int px_egress_packets_send_now(struct egress *egress, json_t *packet);

/* ---- egress_start.c ---- */

/* Takes the settings of "start". Returns NULL, or what is wrong. */
const char *px_egress_start(struct egress *egress, const json_t *packet, char *why, size_t why_size);

/* ---- egress_runs.c ---- */

struct egress_run *px_egress_run_find(struct egress *egress, uint64_t number);
/* Takes the listener. Returns NULL, or why the run can't be opened. */
const char *px_egress_run_open(struct egress *egress, uint64_t number, int listener, const json_t *packet);
/* How many connections the run may have now. */
size_t px_egress_run_limit(const struct egress_run *run);
/* Ends all connections. The run stays until its last report is sent. */
void px_egress_run_close(struct egress_run *run);
void px_egress_run_free(struct egress_run *run);
void px_egress_runs_free(struct egress *egress);
/* Counts a request in a row, which it may have to make. `text` may be NULL. Returns the row's index, or -1 if there is no room. */
int px_egress_run_count(struct egress_run *run, const char *host, uint16_t port, enum egress_why why,
                        const struct sockaddr *address, const char *text);
/* Counts bytes of a connection. */
void px_egress_run_add_bytes(struct egress_connection *connection, uint64_t sent, uint64_t received);
json_t *px_egress_run_opened(const struct egress_run *run);
json_t *px_egress_run_denied(struct egress_run *run, struct egress_row *row);
/* Takes the report: the next one begins. */
json_t *px_egress_run_report(struct egress_run *run);

/* ---- egress_connection.c ---- */

void px_egress_connection_new(struct egress_run *run, int fd);
void px_egress_connection_close(struct egress_connection *connection);
/* Sends what waits for the client, then ends the connection. */
void px_egress_connection_flush(struct egress_connection *connection);
/* Sets the stage and when it must be over. */
void px_egress_connection_stage(struct egress_connection *connection, enum egress_stage stage, int64_t timeout_ms);
/* Takes the descriptor of a socket that is connected to the server, or to the upstream proxy. */
void px_egress_connection_connected(struct egress_connection *connection, int fd);
/* The server, or the upstream proxy's tunnel to it, is there. */
void px_egress_connection_reached(struct egress_connection *connection);

/* ---- egress_decide.c ---- */

/* Decides about the request, whose target is set. Returns true if it may be made; otherwise the script has been told. */
bool px_egress_decide_host(struct egress_connection *connection, const char *bad_name);
/* Returns NULL, or what the address is. */
const char *px_egress_decide_address(const struct egress *egress, const struct sockaddr *address);

/* ---- egress_answer.c ---- */

/* The request is refused: tells the script and the host. `about` is for a sentence, in the way that each reason needs it. */
void px_egress_answer_denied(struct egress_connection *connection, enum egress_why why, const struct sockaddr *address,
                             const char *about);
/* The request failed. */
void px_egress_answer_failed(struct egress_connection *connection, int status, enum egress_why why, const char *about);
const char *px_egress_why_name(enum egress_why why);

/* ---- egress_resolve.c ---- */

/* Keeps the servers of the resolver's configuration as it is now. */
void px_egress_resolve_start(struct egress *egress);
void px_egress_resolve_done(struct egress *egress);

/* Called once, unless the lookup is cancelled. No addresses: `problem` says why. `missing`: the name does not exist. */
typedef void egress_resolved(struct egress_connection *connection, const struct sockaddr_storage *addresses,
                             size_t count, const char *problem);
/* Returns NULL if there is no memory or no resolver. */
struct egress_lookup *px_egress_lookup_new(struct egress_connection *connection, const char *name,
                                           egress_resolved *resolved);
void px_egress_lookup_cancel(struct egress_lookup *lookup);

/* ---- egress_dial.c ---- */

/* Finds the server's address, checks it and connects to it. */
void px_egress_dial(struct egress_connection *connection);
/* Ends the attempts to connect. */
void px_egress_dial_cancel(struct egress_connection *connection);
/* Bytes of the upstream proxy in EGRESS_STAGE_UPSTREAM. */
void px_egress_dial_upstream_read(struct egress_connection *connection);
/* The stage's time is over. */
void px_egress_dial_timeout(struct egress_connection *connection);

/* ---- egress_tunnel.c ---- */

/* The first bytes of the client in a tunnel. */
void px_egress_tunnel_peek(struct egress_connection *connection);
/* Passes bytes on, in both directions. */
void px_egress_tunnel_move(struct egress_connection *connection);
/* One side has no more bytes. */
void px_egress_tunnel_ended(struct egress_connection *connection);

/* ---- egress_plain.c ---- */

/* Checks the request and makes the head that goes to the server. Returns false if the script was refused. */
bool px_egress_plain_prepare(struct egress_connection *connection, const struct px_http_head *head,
                             struct px_http_text path);
/* Sends the head. */
void px_egress_plain_begin(struct egress_connection *connection);
void px_egress_plain_client_read(struct egress_connection *connection);
void px_egress_plain_server_read(struct egress_connection *connection);
void px_egress_plain_server_ended(struct egress_connection *connection);

/* ---- egress_secret.c ---- */

/* The packets "authority" and "secret". The caller still owns the descriptors. */
void px_egress_secret_authority(struct egress *egress, const int *fds, size_t count);
void px_egress_secret_add(struct egress *egress, const json_t *packet, const int *fds, size_t count);
/* Ends TLS of the tunnel if the run has a secret for its host. Returns false if it has none. */
bool px_egress_secret_begin(struct egress_connection *connection);
/* Passes on what has arrived. */
void px_egress_secret_move(struct egress_connection *connection);
/* Nothing has moved for too long: answers a request that waits, and ends the connection. */
void px_egress_secret_silent(struct egress_connection *connection, const char *about);

/* ---- egress_flow.c ---- */

/* Stops reading from `from` while `to` has too much to send. */
void px_egress_flow_hold(struct bufferevent *from, struct bufferevent *to);
/* `to` has sent enough: reads from `from` again. */
void px_egress_flow_go_on(struct bufferevent *from, struct bufferevent *to);

#endif
