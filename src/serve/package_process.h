/* SPDX-License-Identifier: Apache-2.0 */
/* The process `pyexec env cached` of a request's packages. */
#ifndef PX_SERVE_PACKAGE_PROCESS_H
#define PX_SERVE_PACKAGE_PROCESS_H

#include "base/buffer.h"
#include "serve/serve.h"

struct px_package_process {
    int pid;    /* also its process group; 0: none */
    int output; /* both of its streams */
};

/* Starts it for these packages, a line for each. */
int px_package_process_start(struct px_package_process *process, const struct px_serve_options *options,
                             const char *packages, pyexec_error *error);
/* Waits for output at most `wait_ms`, and appends it; the buffer keeps the end. Returns 0 when the process has closed its output, else 1. */
int px_package_process_read(const struct px_package_process *process, int wait_ms, struct px_buffer *output);
/* Kills it, with the installer that it has started. */
void px_package_process_kill(const struct px_package_process *process);
/* Waits for its end. Returns its exit status, or 128 and the signal that ended it. */
int px_package_process_end(struct px_package_process *process);

/* How much of the output was for people; an object follows. */
size_t px_package_process_said(const char *output);
/* The error of a process that failed, from its output. Faults of the server itself have no details: they go to its log. */
int px_package_process_explain(int status, const char *output, pyexec_error *error);

#endif
