/* SPDX-License-Identifier: Apache-2.0 */
/* The server's log on standard error, with one structured line per request and per event; and the audit log, with
 * one JSON line per run. The audit log has the hash of the code and never the code. */
#ifndef PX_SERVE_LOG_H
#define PX_SERVE_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "pyexec.h"

struct px_http_request;

struct px_log {
    pthread_mutex_t lock;
    bool json; /* false: text */
    int audit; /* descriptor of the audit log; -1: none */
};

/* `audit_path` NULL: no audit log. The file is opened for appending, with mode 0600 when it is new. */
int px_log_open(struct px_log *log, bool json, const char *audit_path, pyexec_error *error);
/* Opens the same path again, because logrotate may have moved the file. On an error the old file stays open. */
int px_log_reopen(struct px_log *log, const char *audit_path, pyexec_error *error);
void px_log_close(struct px_log *log);

/* Logs an event such as "listening" or "draining"; `detail` may be NULL. */
void px_log_event(struct px_log *log, const char *event, const char *detail);
/* Logs a request that has been answered, or whose client went away. */
void px_log_request(struct px_log *log, const struct px_http_request *request);
/* Keeps the hash of the code that is going to run, for the audit log. */
void px_log_hash(const struct px_log *log, struct px_http_request *request, const char *code, size_t length);
/* Logs a run that was sent to a process. Without a result (NULL) the host failed, and `error` says why. */
void px_log_run(struct px_log *log, const struct px_http_request *request, const pyexec_result *result,
                const pyexec_error *error);
/* Logs what became of the packages of a request: `outcome` found, made, failed or cancelled, the name of the environment ("": none), and
 * how long it took. Both logs get it, the server's only when something was made or failed. */
void px_log_packages(struct px_log *log, const struct px_http_request *request, const char *outcome, const char *name,
                     int64_t nanoseconds);
/* Logs a verify: one line, with the numbers of its tests. */
void px_log_verify(struct px_log *log, const struct px_http_request *request, const pyexec_verify_counts *counts,
                   const pyexec_error *error);

#endif
