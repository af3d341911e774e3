/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a zygote: the interpreter, in namespaces of its own, with a fixed environment. */
#ifndef PX_LAUNCH_ZYGOTE_EXEC_H
#define PX_LAUNCH_ZYGOTE_EXEC_H

#include <sys/types.h>

#include "launch/supervisor.h"
#include "protocol/launch.h"

/* The zygote's process id, or -1. Failures after the clone, a failed exec among them, end the
 * zygote with a line on `log`; the host sees its exit and reads the line. */
pid_t px_zygote_exec(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, int socket,
                     int log, px_layers *missing, int *ret_pidfd, pyexec_error *error);

#endif
