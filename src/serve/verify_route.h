/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_SERVE_VERIFY_ROUTE_H
#define PX_SERVE_VERIFY_ROUTE_H

struct px_http_request;

/* POST /v1/verify */
void px_verify_route_serve(struct px_http_request *request);

#endif
