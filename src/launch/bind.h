/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of host folders that are not attached anywhere yet. A process that still sees the host's files makes
 * them. */
#ifndef PX_LAUNCH_BIND_H
#define PX_LAUNCH_BIND_H

#include <stdbool.h>

#include "protocol/launch.h"

/* Serves one request from the socket. Returns 0, or -1 when the host is gone. */
int px_bind_serve(int socket, bool privileged, const struct px_launch_start *start);

#endif
