/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-mcp-http: a program that makes an MCP server over Streamable HTTP look like a server over stdio. Its first line of
 * input is {"url", "headers", "secrets"}. Each further line is a JSON-RPC message, which it sends to the server with a POST. It
 * writes each message of the server as a line to its output. It supports the older revisions of MCP, which have sessions
 * (Mcp-Session-Id), and revision 2026-07-28, which the code calls `modern`.
 *
 *   bridge_main.c      input, output, the loop
 *   bridge_messages.c  handles the lines of pyexec and the messages of the server: sessions, ids, errors
 *   bridge_exchange.c  one HTTP request, with libcurl
 *   bridge_params.c    arguments that a tool requires as headers too (x-mcp-header, 2026-07-28)
 *
 * A server may be hostile. This program limits the size of all that it sends, and so does pyexec, which reads the lines. */
#ifndef PX_MCP_HTTP_BRIDGE_H
#define PX_MCP_HTTP_BRIDGE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/sse_events.h"

#define PX_BRIDGE_MESSAGE_MAX (16u << 20)  /* bytes of one message; src/mcp_client has the same limit */
#define PX_BRIDGE_STREAM_MAX (64u << 20)   /* bytes of events that a server may send before it answers */
#define PX_BRIDGE_HEADERS_MAX (256u << 10) /* bytes of all headers of a response */
#define PX_BRIDGE_SESSION_MAX 1024u

enum px_bridge_kind {
    PX_BRIDGE_REQUEST, /* a request of pyexec; its answer is written to the output */
    PX_BRIDGE_NOTICE,  /* a notification of pyexec, or its answer to the server */
    PX_BRIDGE_AGAIN,   /* `initialize` is sent again, because the session was lost */
    PX_BRIDGE_LISTEN,  /* GET: receives messages that answer no request */
    PX_BRIDGE_END,     /* DELETE: ends the session */
};

/* An HTTP request, until its response is complete. */
struct px_bridge_exchange {
    struct px_bridge_exchange *next;
    struct px_bridge *bridge;
    enum px_bridge_kind kind;
    CURL *easy; /* NULL: it waits for a new session */
    struct curl_slist *headers;
    /* The message that is sent, and its parts that become headers. */
    char *body;
    size_t body_length;
    json_t *id;           /* NULL: no answer is expected */
    char *method;         /* "": the message has no method */
    struct px_buffer own; /* headers of this message only (2026-07-28), each ended by a NUL */
    bool modern, barrier; /* barrier: the next line of pyexec is not handled before this exchange ends */
    unsigned generation;  /* the number of the session in which it was sent */
    int tries, redirects;
    /* The response. */
    long status;
    bool is_json, is_events, answered;
    char session[PX_BRIDGE_SESSION_MAX + 1];
    size_t header_bytes, stream_bytes;
    struct px_buffer text; /* the body, if it is not a stream of events */
    struct px_sse_events events;
    const char *fault; /* why this program ended the transfer early; NULL: it did not */
    int64_t end_by_ns; /* when to end the transfer; 0: no limit */
    char curl_error[CURL_ERROR_SIZE];
};

struct px_bridge {
    CURLM *multi;
    char *url, *place; /* place: scheme, host and port, for error messages */
    json_t *headers;   /* from names to values */
    json_t *secrets;   /* texts that are replaced in everything that the server sends */
    json_t *params;    /* from the name of a tool to a list of [HEADER, STEP, ...]: the path to an argument */
    struct px_buffer in, out;
    struct px_bridge_exchange *exchanges;
    size_t count, bytes; /* the number of exchanges, and the bytes of their bodies */
    char session[PX_BRIDGE_SESSION_MAX + 1], version[32];
    unsigned generation; /* the number of the session; it grows with each new one */
    char *initialize;    /* the message that started the session */
    size_t initialize_length;
    int64_t listen_at_ns; /* when the next GET is due; 0: never */
    bool ended;
    char failure[400]; /* why the program ends with an error; "": no error */
};

/* ---- One request (bridge_exchange.c) ---- */

/* Takes ownership of `body` (NULL: no body), and adds the exchange to the bridge. Returns NULL when there is no memory. */
struct px_bridge_exchange *px_bridge_exchange_new(struct px_bridge *bridge, enum px_bridge_kind kind, char *body,
                                                  size_t length);
/* Starts the transfer, for the first time or again. Returns -1 when there is no memory. */
int px_bridge_exchange_send(struct px_bridge_exchange *exchange);
void px_bridge_exchange_free(struct px_bridge_exchange *exchange);
/* Handles the end of the transfer. */
void px_bridge_exchange_over(struct px_bridge_exchange *exchange, CURLcode code);
/* Adds a header to this message. A value that can't be in a header is encoded as base64. */
void px_bridge_exchange_header(struct px_bridge_exchange *exchange, const char *name, const char *value, size_t length);

/* ---- Messages (bridge_messages.c) ---- */

void px_bridge_take_line(struct px_bridge *bridge, const char *line, size_t length);
/* Handles a message of the server. */
void px_bridge_take_message(struct px_bridge_exchange *exchange, const char *text, size_t length);
/* Handles the end of the exchange. `why` says what failed; NULL: nothing. */
void px_bridge_finish(struct px_bridge_exchange *exchange, const char *why);
void px_bridge_listen(struct px_bridge *bridge);

/* Ends the program with this error. Do not pass text of a server: secrets are not replaced in it. */
void px_bridge_fail(struct px_bridge *bridge, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Headers of tools (bridge_params.c) ---- */

/* Remembers which arguments the tools in this list require as headers. Removes each tool whose marks are invalid. Returns true
 * if it removed any. */
bool px_bridge_params_learn(struct px_bridge *bridge, json_t *result);
void px_bridge_params_add(struct px_bridge_exchange *exchange, const json_t *params);

#endif
