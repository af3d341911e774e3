/* SPDX-License-Identifier: Apache-2.0 */
/* The server's log: one structured line per request and per event, on standard error; and the
 * audit log, one JSON line per run, with the hash of the code and never the code. */
#ifndef PX_SERVE_LOG_H
#define PX_SERVE_LOG_H

#include <pthread.h>
#include <stdbool.h>

#include "pyexec.h"

struct px_http_request;

struct px_log {
    pthread_mutex_t lock;
    bool json; /* else text */
    int audit; /* -1: none */
};

/* `audit_path` NULL: no audit log. Opened to append, mode 0600. */
int px_log_open(struct px_log *log, bool json, const char *audit_path, pyexec_error *error);
/* The same path again, which may be another file by now (logrotate). On an error the old one stays. */
int px_log_reopen(struct px_log *log, const char *audit_path, pyexec_error *error);
void px_log_close(struct px_log *log);

/* "listening", "draining" and the like, with an optional detail. */
void px_log_event(struct px_log *log, const char *event, const char *detail);
/* A request that has been answered, or whose client went away. */
void px_log_request(struct px_log *log, const struct px_http_request *request);
/* The hash of the code that is going to run, for the audit log. */
void px_log_hash(const struct px_log *log, struct px_http_request *request, const char *code, size_t length);
/* A run that was sent to a process. Without a result (NULL) the host failed, and `error` says why. */
void px_log_run(struct px_log *log, const struct px_http_request *request, const pyexec_result *result,
                const pyexec_error *error);

#endif
