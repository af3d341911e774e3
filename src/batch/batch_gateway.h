/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway of a batch that runs in a fleet: a `pyexec serve --nats` of its own, on a socket without a name. It is killed with this
 * program. */
#ifndef PX_BATCH_BATCH_GATEWAY_H
#define PX_BATCH_BATCH_GATEWAY_H

#include <stdbool.h>
#include <sys/types.h>

#include "cli/nats_command.h"
#include "cli/server_client.h"
#include "pyexec.h"

struct batch_gateway {
    pid_t process;         /* 0: none */
    int place;             /* of its socket */
    int log;               /* what it says; -1: it has ended */
    struct px_buffer text; /* the last of it */
};

/* Starts it, and waits until it has reached NATS. The caller calls batch_gateway_end() in every case. `config`: the configuration
 * file, or NULL. */
int batch_gateway_start(struct batch_gateway *ret, const struct cli_nats_flags *flags, const char *config,
                        struct server *ret_server, pyexec_error *error);
/* Reads what it says. Returns -1 with an error when it has ended. */
int batch_gateway_read(struct batch_gateway *gateway, pyexec_error *error);
void batch_gateway_end(struct batch_gateway *gateway);

#endif
