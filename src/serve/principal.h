/* SPDX-License-Identifier: Apache-2.0 */
/* Principals with their tokens and ceilings, from the token file. A line of the file is
 *
 *   NAME sha256:HEX [key=value…]
 *
 * HEX is the SHA-256 of the bearer token. `-` in place of sha256:HEX: the principal has no token and only comes over NATS. A key is one of the policy, written as for a flag, and sets the
 * principal's ceiling, which applies on top of the server's policy; or it is max_concurrent, max_sessions, rate
 * (runs per second), mcp_servers, secrets or allow_requests (names, with commas between them). Callers on a UNIX socket without a token are the principal `local`. Callers of a dialect on a
 * loopback address, when there is no file, are `loopback`.
 *
 * A table is read as a whole and replaced as a whole (SIGHUP). Principals are never freed before the end, because
 * requests and queues point to them; one that is no longer in the file is not found any more. */
#ifndef PX_SERVE_PRINCIPAL_H
#define PX_SERVE_PRINCIPAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "pyexec.h"

#define PX_PRINCIPAL_NAME_MAX 64

struct px_principal {
    struct px_principal *next;
    char name[PX_PRINCIPAL_NAME_MAX + 1];
    unsigned char token_hash[32];
    bool without_token;
    bool gone;       /* no longer in the file */
    json_t *ceiling; /* a partial policy, which never changes; {}: only the server's */
    char *servers;   /* names of MCP servers whose tools its runs call, with commas between them; NULL: none */
    char *secrets;   /* names of secrets that its runs may use; NULL: none */
    char *packages;  /* packages that its requests may ask for, with commas between them; NULL: those of the server */
    /* A reload changes these while the schedules read them. 0: the server's limit for max_concurrent and max_sessions,
     * and no limit for rate. */
    _Atomic int64_t max_concurrent, max_sessions;
    _Atomic double rate;       /* runs per second */
    _Atomic long kept_bytes;   /* bytes of answers that their clients have not read yet */
    _Atomic long bodies_bytes; /* memory reserved for the bodies of its requests */
    _Atomic long spools;       /* archives in temporary files */
};

struct px_principals {
    pthread_mutex_t lock;
    struct px_principal *list;
    struct px_principal local;
    struct px_principal loopback; /* callers of dialects on loopback addresses, without tokens */
    const char *path;             /* NULL: there is no file, and the only principal is `local` */
};

int px_principals_init(struct px_principals *principals, const char *path, pyexec_error *error);
void px_principals_done(struct px_principals *principals);

/* Reads the file again. On an error nothing changes. Returns 0, or -1 with `error`. */
int px_principals_reload(struct px_principals *principals, pyexec_error *error);

/* Finds the principal of an Authorization header ("Bearer …"). The comparison takes constant time. NULL: none. */
struct px_principal *px_principals_find(struct px_principals *principals, const char *header);

/* Finds the principal with this name, which a trusted client has checked. NULL: none. */
struct px_principal *px_principals_find_name(struct px_principals *principals, const char *name);

/* The same for a token without "Bearer ", with a NUL at its end. */
struct px_principal *px_principals_find_token(struct px_principals *principals, const char *token);

/* Returns the principal's ceiling, which the caller gives to json_decref(). */
json_t *px_principals_ceiling(struct px_principals *principals, const struct px_principal *principal);

/* Returns the names of the MCP servers that it may use, for free(): "" for none. NULL: no memory. */
char *px_principals_servers(struct px_principals *principals, const struct px_principal *principal);

/* The same for the secrets that its runs may use. */
char *px_principals_secrets(struct px_principals *principals, const struct px_principal *principal);

/* Returns the packages that its requests may ask for, for free(). NULL with errno 0: those of the server. NULL with ENOMEM: no memory. */
char *px_principals_packages(struct px_principals *principals, const struct px_principal *principal);

/* Lowers the limits of a request to the principal's ceiling, and gives it the principal's secrets. */
void px_principals_limit(struct px_principals *principals, const struct px_principal *principal,
                         pyexec_request *request);

#endif
