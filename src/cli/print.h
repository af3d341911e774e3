/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own output: errors and hints on standard error, text on standard output. */
#ifndef PX_CLI_PRINT_H
#define PX_CLI_PRINT_H

#include <stdbool.h>

#include "base/json.h"

#include "base/buffer.h"
#include "pyexec.h"

/* Prints "pyexec: MESSAGE" and "hint: HINT" (if there is one) on standard error. Control characters are shown
 * as '?', because names and messages may come from a script. */
void cli_say(const char *message, const char *hint);
void cli_say_hint(const char *hint);

/* The same for an error. Returns CLI_EXIT_FAILED. */
int cli_fail(const pyexec_error *error);

/* The same, and with `json` also an object on standard output. */
int cli_fail_as(bool json, const pyexec_error *error);

/* Writes everything and waits for a slow reader, also with a non-blocking descriptor. Returns 0, or -1 with
 * errno; ECANCELED when cli_signals_cancelled() became true meanwhile. */
int cli_write(int fd, const char *bytes, size_t length);

/* Writes the buffer to standard output. Returns the exit status: CLI_EXIT_OK; CLI_EXIT_PIPE when nobody reads;
 * otherwise CLI_EXIT_FAILED, after saying why. */
int cli_print(const struct px_buffer *text);

/* The exit status for a failed write to standard output. Prints the reason if somebody should know it. */
int cli_write_failed(int sys_errno);

/* The exit status of a server on standard streams, from its result: 0, or the errno with which standard output
 * failed. Prints the reason, except when the client is gone. */
int cli_server_status(int output_errno);

/* True if standard output should be coloured: it is a terminal, and NO_COLOR is not set. */
bool cli_colours(void);

/* Prints, under a title, the paths of doctor's `python` object from which scripts can import besides the
 * interpreter's own folders. Prints nothing if there are none. */
void cli_add_importable(struct px_buffer *out, const json_t *python);

#endif
