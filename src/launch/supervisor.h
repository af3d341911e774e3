/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: PID 1 of the outer PID namespace. */
#ifndef PX_LAUNCH_SUPERVISOR_H
#define PX_LAUNCH_SUPERVISOR_H

#include <stdbool.h>

#include "base/layers.h"
#include "protocol/launch.h"

struct px_supervisor {
    int host;                      /* SOCK_SEQPACKET to the host library */
    int host_process;              /* pidfd of the host */
    int extensions[PX_LIBC_COUNT]; /* the guests, for zygotes to load; -1: there is none for this libc */
    px_layers missing, allow_missing;
    bool privileged; /* root started it, and its user namespace has more than one id */
};

/* Serves until the host goes, then exits. The kernel then kills all processes below it. */
void px_supervisor_run(struct px_supervisor *supervisor) __attribute__((noreturn));

#endif
