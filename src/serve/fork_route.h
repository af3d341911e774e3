/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_SERVE_FORK_ROUTE_H
#define PX_SERVE_FORK_ROUTE_H

struct px_http_request;

/* POST /v1/sessions/{id}/fork */
void px_fork_route_serve(struct px_http_request *request);

#endif
