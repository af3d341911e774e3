/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls: principals with their tokens and ceilings, from the token file.
 *
 *     NAME sha256:HEX [key=value…]
 *
 * HEX is the SHA-256 of the bearer token. Keys are those of the policy, as flags have them: the
 * principal's ceiling, over the server's policy; and max_concurrent, max_sessions and rate (runs
 * per second). Callers on a UNIX socket without a token are the principal `local`; those of a dialect
 * on a loopback address, when there is no file, are `loopback`.
 *
 * A table is read whole and replaced whole (SIGHUP). Principals live until the end, since
 * requests and queues point to them; one that is gone from the file is no longer found. */
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
    bool gone;       /* no longer in the file */
    json_t *ceiling; /* a partial policy, which never changes; {}: the server's */
    /* A reload changes them while the schedules read. 0: the server's; no limit. */
    _Atomic int64_t max_concurrent, max_sessions;
    _Atomic double rate;       /* runs per second */
    _Atomic long kept_bytes;   /* of answers that wait for their clients */
    _Atomic long bodies_bytes; /* reserved for the bodies of its requests */
    _Atomic long spools;       /* archives in temporary files */
};

struct px_principals {
    pthread_mutex_t lock;
    struct px_principal *list;
    struct px_principal local;
    struct px_principal loopback; /* callers of dialects on a loopback address without tokens */
    const char *path;             /* NULL: no file, only `local` */
};

int px_principals_init(struct px_principals *principals, const char *path, pyexec_error *error);
void px_principals_done(struct px_principals *principals);

/* Reads the file again; on an error all stays as it is. */
int px_principals_reload(struct px_principals *principals, pyexec_error *error);

/* The principal of an Authorization header ("Bearer …"), compared in constant time; NULL: none. */
struct px_principal *px_principals_find(struct px_principals *principals, const char *header);

/* The same of a token alone, NUL-terminated. */
struct px_principal *px_principals_find_token(struct px_principals *principals, const char *token);

/* The principal's ceiling, for json_decref(). */
json_t *px_principals_ceiling(struct px_principals *principals, const struct px_principal *principal);

/* Bounds a request by the principal's ceiling. */
void px_principals_limit(struct px_principals *principals, const struct px_principal *principal,
                         pyexec_request *request);

#endif
