/* SPDX-License-Identifier: Apache-2.0 */
/* What libmicrohttpd does not see: a client that goes away while its connection sleeps, one that
 * never finishes a request, and silence on a stream of events. One thread, which sleeps for good
 * when no connection is open. */
#ifndef PX_SERVE_WATCH_H
#define PX_SERVE_WATCH_H

#include <microhttpd.h>
#include <stdint.h>

#include "pyexec.h"

struct px_watcher;
struct px_http_request;

/* `patience_ns`: what a new connection may take for its first headers. */
int px_watcher_new(int64_t patience_ns, struct px_watcher **ret, pyexec_error *error);
void px_watcher_free(struct px_watcher *watcher);

/* MHD_OPTION_NOTIFY_CONNECTION, with the watcher as its closure. */
void px_watch_connection(void *watcher, struct MHD_Connection *connection, void **context,
                         enum MHD_ConnectionNotificationCode code);

/* Moves the deadline of a connection, which is then cut: from now; 0: none. */
void px_watch_deadline(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t nanoseconds);

/* The same while a body is awaited, until a time of px_now_ns(): the client is told (408) before its
 * connection is cut. */
void px_watch_body(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t deadline_ns);

/* While a request is served: its client's going calls px_http_request_gone(), and a second of silence
 * px_sse_tick(). Holds a reference to the request in between. */
void px_watch_request(struct px_watcher *watcher, struct px_http_request *request);
void px_unwatch_request(struct px_watcher *watcher, struct px_http_request *request);

/* Cancels what is served. */
void px_watch_cancel_all(struct px_watcher *watcher);

/* Connections that are open. */
size_t px_watch_count(struct px_watcher *watcher);

#endif
