/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 client for `pyexec serve`, over a UNIX socket or TCP without TLS. It loads nothing, so `pyexec run
 * --server` starts in a millisecond; a library such as libcurl takes several to load and start. It trusts the server to
 * choose what is printed, and nothing else: lengths are bounded, and numbers are checked. */
#ifndef PX_CLI_SERVER_CLIENT_H
#define PX_CLI_SERVER_CLIENT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/json.h"
#include "policy/config.h"
#include "pyexec.h"

struct server {
    char name[PATH_MAX]; /* for messages: unix:/PATH or http://HOST:PORT */
    char path[128];      /* of the UNIX socket; "" for TCP */
    char host[256], port[8];
    struct px_buffer token; /* empty: none */
};

/* Finds the server that the configuration names, which is not NULL, and reads its token. */
int server_find(struct server *ret, const struct px_cli_config *config, pyexec_error *error);
void server_done(struct server *server);

/* The state of one connection and the answer that comes over it. */
struct server_answer {
    int fd;
    int status;            /* 0: its headers have not come yet */
    int retry_after_s;     /* of its headers, or 0 */
    struct px_buffer body; /* what has come and was not consumed */
    bool ended;            /* the answer is complete */
    bool lost;             /* the connection ended before */
    /* Private. */
    struct px_buffer raw;
    bool chunked, headers_done;
    uint64_t left; /* bytes of this chunk, or of the body; UINT64_MAX: until the connection ends */
    int chunk_step;
};

/* Returns 0, or -1 with `error`; error->sys_errno then says whether nobody listens. */
int server_connect(const struct server *server, struct server_answer *ret, pyexec_error *error);
void server_close(struct server_answer *answer);

/* Sends a request. The answer of an earlier one on this connection must be complete. `headers`: lines that
 * are added, each with \r\n at its end, or NULL. Returns 0, also when the server answers before it has read the whole body; or -1
 * with `error`. */
int server_send(const struct server *server, struct server_answer *answer, const char *method, const char *path,
                const char *headers, const char *body, size_t length, pyexec_error *error);

/* Reads what has come, without waiting. Returns 0, or -1 with `error` when it is not HTTP. */
int server_receive(struct server_answer *answer, pyexec_error *error);

/* Sends a request and waits for the whole answer. */
int server_ask(const struct server *server, struct server_answer *answer, const char *method, const char *path,
               const char *body, size_t length, pyexec_error *error);

/* True for a problem document of pyexec with this status. A proxy has answers of its own, also when the code runs behind it. */
bool server_is_problem(const json_t *problem, int status);

#endif
