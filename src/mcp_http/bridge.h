/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-mcp-http: a program that makes an MCP server over Streamable HTTP look like one over stdio. Its first line of input
 * is {"url", "headers", "secrets"}; each further line is a message of JSON-RPC, which it sends with a POST. What the server
 * answers comes out as lines. Both eras are served: revisions with sessions (Mcp-Session-Id), and 2026-07-28.
 *
 *   bridge_main.c      input, output, the loop
 *   bridge_messages.c  what lines and answers mean: sessions, ids, errors
 *   bridge_exchange.c  one request of HTTP, with libcurl
 *   bridge_params.c    headers that tools of 2026-07-28 want (x-mcp-header)
 *
 * What servers send is hostile: it is bounded here, and again by the reader of the lines. */
#ifndef PX_MCP_HTTP_BRIDGE_H
#define PX_MCP_HTTP_BRIDGE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/json.h"
#include "mcp_http/bridge_events.h"

#define PX_BRIDGE_STREAM_MAX (64u << 20)   /* bytes of an answer's events before the answer */
#define PX_BRIDGE_HEADERS_MAX (256u << 10) /* bytes of an answer's headers */
#define PX_BRIDGE_SESSION_MAX 1024u

enum px_bridge_kind {
    PX_BRIDGE_REQUEST, /* of pyexec; its answer goes to the output */
    PX_BRIDGE_NOTICE,  /* a notification or an answer of pyexec's */
    PX_BRIDGE_AGAIN,   /* initialize, for a new session after the old one was lost */
    PX_BRIDGE_LISTEN,  /* GET: events without a request */
    PX_BRIDGE_END,     /* DELETE */
};

/* A request of HTTP, until its answer is complete. */
struct px_bridge_exchange {
    struct px_bridge_exchange *next;
    struct px_bridge *bridge;
    enum px_bridge_kind kind;
    CURL *easy; /* NULL: it waits for a new session */
    struct curl_slist *headers;
    /* The message, with what of it is in the headers. */
    char *body;
    size_t body_length;
    json_t *id;           /* NULL: no answer is awaited */
    char *method;         /* "" for none */
    struct px_buffer own; /* lines of headers of this message alone, each with a NUL; 2026-07-28 */
    bool modern, barrier; /* barrier: no line is read before its end */
    unsigned generation;  /* the session that it was sent in */
    int tries, redirects;
    /* The answer. */
    long status;
    bool is_json, is_events, answered;
    char session[PX_BRIDGE_SESSION_MAX + 1];
    size_t header_bytes, stream_bytes;
    struct px_buffer text; /* that is no stream of events */
    struct px_bridge_events events;
    const char *fault; /* why it was broken off here; NULL: it was not */
    int64_t end_by_ns; /* it is broken off then; 0: not */
    char curl_error[CURL_ERROR_SIZE];
};

struct px_bridge {
    CURLM *multi;
    char *url, *place; /* place: of messages, without secrets */
    json_t *headers;   /* name: value */
    json_t *secrets;   /* texts that no answer shows */
    json_t *params;    /* tool: list of [header, [path...]] */
    struct px_buffer in, out;
    struct px_bridge_exchange *exchanges;
    size_t count, bytes; /* of the exchanges, of their bodies */
    char session[PX_BRIDGE_SESSION_MAX + 1], version[32];
    unsigned generation; /* of sessions */
    char *initialize;    /* the message that began the session */
    size_t initialize_length;
    int64_t listen_at_ns; /* when the next GET is due; 0: never */
    bool ended;
    char failure[400]; /* why the program ends; "" */
};

/* ---- One request (bridge_exchange.c) ---- */

/* Takes `body` (NULL: none) and adds the exchange to those of the bridge. NULL: no memory. */
struct px_bridge_exchange *px_bridge_exchange_new(struct px_bridge *bridge, enum px_bridge_kind kind, char *body,
                                                  size_t length);
/* Sends it, maybe again. -1: no memory. */
int px_bridge_exchange_send(struct px_bridge_exchange *exchange);
void px_bridge_exchange_free(struct px_bridge_exchange *exchange);
/* Its transfer has ended. */
void px_bridge_exchange_over(struct px_bridge_exchange *exchange, CURLcode code);
/* Adds a header of this message. A value that no header can have is encoded. */
void px_bridge_exchange_header(struct px_bridge_exchange *exchange, const char *name, const char *value, size_t length);

/* ---- Messages (bridge_messages.c) ---- */

void px_bridge_take_line(struct px_bridge *bridge, const char *line, size_t length);
/* From a server. */
void px_bridge_take_message(struct px_bridge_exchange *exchange, const char *text, size_t length);
/* The exchange has ended. `why` NULL: as it should. */
void px_bridge_finish(struct px_bridge_exchange *exchange, const char *why);
void px_bridge_listen(struct px_bridge *bridge);

/* Ends the program. The text must not come from a server. */
void px_bridge_fail(struct px_bridge *bridge, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Headers of tools (bridge_params.c) ---- */

/* Remembers what the tools of a list want, and drops those that want what can't be. True: it dropped some. */
bool px_bridge_params_learn(struct px_bridge *bridge, json_t *result);
void px_bridge_params_add(struct px_bridge_exchange *exchange, const json_t *params);

#endif
