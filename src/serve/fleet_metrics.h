/* SPDX-License-Identifier: Apache-2.0 */
/* The part of /metrics that is about a fleet: of a gateway (`pyexec serve --nats`), and of `pyexec-worker` above this server. */
#ifndef PX_SERVE_FLEET_METRICS_H
#define PX_SERVE_FLEET_METRICS_H

#include <stdbool.h>

struct px_buffer;
struct px_http_request;
struct px_server;

/* Adds the rows. For a gateway it asks the nodes and waits 0.3 s, so call it on a thread that may wait. */
void px_fleet_metrics_add(struct px_server *server, struct px_buffer *out);

/* True for a request for the page of a gateway. */
bool px_metrics_asks_nodes(const struct px_http_request *request);

#endif
