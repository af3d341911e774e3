/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_SERVE_UNDO_ROUTE_H
#define PX_SERVE_UNDO_ROUTE_H

struct px_http_request;

/* POST /v1/sessions/{id}/undo and /v1/sessions/{id}/reset */
void px_undo_route_serve(struct px_http_request *request);
void px_undo_route_serve_reset(struct px_http_request *request);

#endif
