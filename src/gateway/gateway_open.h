/* SPDX-License-Identifier: Apache-2.0 */
/* The one function of the module pyexec_gateway.so: it connects to the nodes of a fleet. */
#ifndef PX_GATEWAY_GATEWAY_OPEN_H
#define PX_GATEWAY_GATEWAY_OPEN_H

#include "base/json.h"
#include "serve/fleet.h"

/* `config` has the keys of [nats] that are about the connection. With `now`, it fails if no NATS server can be reached at once. NULL
 * with a text in `problem`. */
#define PX_GATEWAY_SYMBOL "px_gateway_open"
typedef struct px_fleet *(*px_gateway_fn)(const json_t *config, bool now, char *problem, size_t size);
__attribute__((visibility("default"))) struct px_fleet *px_gateway_open(const json_t *config, bool now, char *problem,
                                                                        size_t size);

#endif
