/* SPDX-License-Identifier: Apache-2.0 */
/* Signals during a run: Ctrl-C interrupts the script, a second one and SIGTERM or SIGHUP
 * cancel it. This is the program's only changeable global state. */
#ifndef PX_CLI_CLI_SIGNALS_H
#define PX_CLI_CLI_SIGNALS_H

#include <stdbool.h>

#include "pyexec.h"

/* Makes a pipe without reader an EPIPE. A handler instead of SIG_IGN, because execve resets
 * it: no program that is started from here inherits an ignored SIGPIPE. */
void cli_signals_catch_pipe(void);

/* From now until cli_signals_release, signals are for this request. Signals that were
 * ignored at start (nohup, shell background jobs) stay ignored. */
void cli_signals_hold(pyexec_request *request);
void cli_signals_release(void);

/* Whether the run was cancelled by a signal, and the terminating signal or 0. */
bool cli_signals_cancelled(void);
int cli_signals_terminated(void);

/* For a program that serves a client on its standard streams: a descriptor that is readable once a
 * signal says to end, or -1; and a client that is gone shows as a failed write. To be called before
 * the first thread is there. Signals that were ignored at start stay ignored. */
int cli_signals_for_server(void);

/* For such a program whose client gets the same signals, and decides what they mean: SIGINT, SIGTERM and
 * SIGHUP are ignored, and a client that is gone shows as a failed write. */
void cli_signals_ignore(void);

#endif
