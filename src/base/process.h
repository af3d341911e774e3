/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that pyexec starts with fork(2) outside of any sandbox, and waits for. */
#ifndef PX_BASE_PROCESS_H
#define PX_BASE_PROCESS_H

#include <sys/types.h>

#define PX_EXIT_NOT_STARTED 127 /* exit status of a process that could not become the program, as in shells */

/* In the new process: no signal is blocked; it is killed when the thread that called fork() ends; its standard input and both of
 * its outputs are these descriptors. `parent` is the process that called fork(). Makes only calls that are async-signal-safe.
 * Returns 0, or -1: then the process should end. */
int px_process_begin(int input, int output, pid_t parent);

/* Returns the exit status that waitpid(2) gave, or 128 and the signal. */
int px_process_exit_status(int status);

#endif
