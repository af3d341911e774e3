/* SPDX-License-Identifier: Apache-2.0 */
/* Signals during a run: Ctrl-C interrupts the script, a second one and SIGTERM or SIGHUP
 * cancel it. This is the program's only changeable global state. */
#ifndef PX_CLI_CLI_SIGNALS_H
#define PX_CLI_CLI_SIGNALS_H

#include <stdbool.h>

#include "pyexec.h"

/* Makes a write to a pipe without a reader fail with EPIPE. It sets a handler and not SIG_IGN, because execve
 * resets a handler: no program that is started from here inherits an ignored SIGPIPE. */
void cli_signals_catch_pipe(void);

/* From now until cli_signals_release, signals are for this request. Signals that were
 * ignored at start (nohup, shell background jobs) stay ignored. */
void cli_signals_hold(pyexec_request *request);
void cli_signals_release(void);

/* True if a signal cancelled the run; and the signal that ends the program, or 0. */
bool cli_signals_cancelled(void);
int cli_signals_terminated(void);

/* For a program that serves a client on its standard streams: returns a descriptor that becomes readable when a
 * signal says to end, or -1. A client that has gone away shows as a failed write. Call it before the first thread is
 * started. Signals that were ignored at the start stay ignored. */
int cli_signals_for_server(void);

/* Closes that descriptor. Signals then have their default action again, also those that came meanwhile. */
void cli_signals_end_descriptor(int *fd);

/* Ignores SIGINT, SIGTERM and SIGHUP. For a program that serves a client which gets the same signals and decides what
 * they mean. A client that has gone away shows as a failed write. */
void cli_signals_ignore(void);

#endif
