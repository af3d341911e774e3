/* SPDX-License-Identifier: Apache-2.0 */
/* `pyexec serve --nats`: a request that a node of the fleet answers. */
#ifndef PX_SERVE_FORWARD_H
#define PX_SERVE_FORWARD_H

struct px_http_request;

void px_forward_serve(struct px_http_request *request);

#endif
