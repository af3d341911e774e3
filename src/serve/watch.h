/* SPDX-License-Identifier: Apache-2.0 */
/* Notices what libmicrohttpd does not see: a client that goes away while its connection sleeps, a client that
 * never finishes a request, and silence on a stream of events. This is one thread, which sleeps while no
 * connection is open. */
#ifndef PX_SERVE_WATCH_H
#define PX_SERVE_WATCH_H

#include <microhttpd.h>
#include <stdint.h>

#include "pyexec.h"

struct px_watcher;
struct px_http_request;

/* `patience_ns`: how long a new connection may take for its first headers. `on_tick` is called four times a second while
 * there are connections. */
typedef void (*px_watch_tick_fn)(void *closure, int64_t now);
int px_watcher_new(int64_t patience_ns, px_watch_tick_fn on_tick, void *closure, struct px_watcher **ret,
                   pyexec_error *error);
void px_watcher_free(struct px_watcher *watcher);

/* For MHD_OPTION_NOTIFY_CONNECTION. Its closure is the watcher. */
void px_watch_connection(void *watcher, struct MHD_Connection *connection, void **context,
                         enum MHD_ConnectionNotificationCode code);

/* Sets a deadline, counted from now, at which the connection is closed; 0: none. */
void px_watch_deadline(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t nanoseconds);

/* The same while a body is awaited, but with a time of px_now_ns(). The client gets a 408 before its connection is
 * closed. */
void px_watch_body(struct px_watcher *watcher, struct MHD_Connection *connection, int64_t deadline_ns);

/* Watches a request while it is served: calls px_http_request_gone() when its client goes away, and px_sse_tick()
 * after each second of silence. Holds a reference to the request until px_unwatch_request(). */
void px_watch_request(struct px_watcher *watcher, struct px_http_request *request);
void px_unwatch_request(struct px_watcher *watcher, struct px_http_request *request);

/* Cancels all requests that are being served. */
void px_watch_cancel_all(struct px_watcher *watcher);

/* Returns how many connections are open. */
size_t px_watch_count(struct px_watcher *watcher);

#endif
