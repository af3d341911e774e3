/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of a script to a host with secrets: TLS ends here on both sides, and HTTP/1.1 requests and responses are passed on one after
 * the other.
 *
 *     script ══TLS══▶ client ──request──▶ + secrets ──▶ server ══TLS══▶ host
 *            ◀══TLS══        ◀──response── scrubbed ◀──        ◀══TLS══
 *
 * It knows no sockets and no event loop: it moves bytes between buffers. **Hostile**: the bytes of the script. The server gets the secret,
 * so it is trusted with it; the bytes of its answers are still parsed strictly. */
#ifndef PX_EGRESS_SECRET_RELAY_H
#define PX_EGRESS_SECRET_RELAY_H

#include <event2/buffer.h>

#include "egress/secret_store.h"

struct px_secret_relay;

struct px_secret_ends {
    struct evbuffer *client_in, *client_out, *server_in, *server_out;
    bool client_ended, server_ended; /* nothing more will come into client_in, server_in */
};

enum px_secret_problem {
    PX_SECRET_NO_PROBLEM,
    PX_SECRET_PROBLEM_PROTOCOL, /* of the script */
    PX_SECRET_PROBLEM_NAME,     /* the field Host names another host */
    PX_SECRET_PROBLEM_SERVER,   /* its certificate, its TLS or its answer */
    PX_SECRET_PROBLEM_SILENT,   /* nothing came from it in time */
};

/* The uses that are for host:port. NULL: no memory. What is given must outlive the relay. */
struct px_secret_relay *px_secret_relay_new(struct px_authority *authority, const struct px_secret_use *uses,
                                            size_t count, const char *host, uint16_t port);
void px_secret_relay_free(struct px_secret_relay *relay);

/* True if one of the secrets is for this host and port. */
bool px_secret_relay_wanted(const struct px_secret_use *uses, size_t count, const char *host, uint16_t port);

/* Moves what can be moved. Reading may go on when an output buffer has sent enough. Returns false when the connection is over: what is in
 * client_out is still to be sent. */
bool px_secret_relay_move(struct px_secret_relay *relay, const struct px_secret_ends *ends);

/* Nothing has moved for too long, and the connection ends: tells the script, if a request of its waits for an answer. */
void px_secret_relay_silent(struct px_secret_relay *relay, struct evbuffer *client_out, const char *about);

/* The first problem, and the sentence that the script got. */
enum px_secret_problem px_secret_relay_problem(const struct px_secret_relay *relay, const char **ret_text);

#endif
