/* SPDX-License-Identifier: Apache-2.0 */
/* Detached mounts of host folders, made where the host's tree is still seen. */
#ifndef PX_LAUNCH_BIND_H
#define PX_LAUNCH_BIND_H

#include <stdbool.h>

#include "protocol/launch.h"

/* Serves one request of the socket. 0, or -1 when the host is gone. */
int px_bind_serve(int socket, bool privileged, const struct px_launch_start *start);

#endif
