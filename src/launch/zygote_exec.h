/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a zygote: the interpreter, in namespaces of its own, with a fixed environment. */
#ifndef PX_LAUNCH_ZYGOTE_EXEC_H
#define PX_LAUNCH_ZYGOTE_EXEC_H

#include <sys/types.h>

#include "launch/supervisor.h"
#include "protocol/launch.h"

/* Returns the process id of the zygote, or -1. If a step after the clone fails, such as the exec, the zygote
 * writes a line to `log` and ends; the host sees that it ended and reads the line. */
pid_t px_zygote_exec(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, int socket,
                     int log, px_layers *missing, int *ret_pidfd, pyexec_error *error);

#endif
