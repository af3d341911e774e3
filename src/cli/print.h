/* SPDX-License-Identifier: Apache-2.0 */
/* What the program itself says: errors and hints on standard error, text on standard output. */
#ifndef PX_CLI_PRINT_H
#define PX_CLI_PRINT_H

#include <stdbool.h>

#include "base/json.h"

#include "base/buffer.h"
#include "pyexec.h"

/* Prints "pyexec: MESSAGE" and "hint: HINT" (when there is one) on standard error. Control
 * characters are shown as '?', because names and messages may be a script's. */
void cli_say(const char *message, const char *hint);
void cli_say_hint(const char *hint);

/* The same of an error; returns CLI_EXIT_FAILED. */
int cli_fail(const pyexec_error *error);

/* Writes all of it, waiting for a slow reader (a non-blocking descriptor too). 0, or -1 with
 * errno; ECANCELED when cli_signals_cancelled() became true meanwhile. */
int cli_write(int fd, const char *bytes, size_t length);

/* Writes the buffer to standard output. Returns the exit status: CLI_EXIT_OK, CLI_EXIT_PIPE
 * when nobody reads, CLI_EXIT_FAILED (after saying why) else. */
int cli_print(const struct px_buffer *text);

/* The exit status for a failed write to standard output, after saying what there is to say. */
int cli_write_failed(int sys_errno);

/* The exit status of a server on standard streams, from what it returns: 0, or the errno with which
 * standard output failed. Says why, unless the client is gone. */
int cli_server_status(int output_errno);

/* Whether standard output is to be coloured: a terminal, and no NO_COLOR. */
bool cli_colours(void);

/* The paths of a doctor's `python` object that scripts can import from beside the interpreter's own
 * folders, under a title that says so. Nothing when there are none. */
void cli_add_importable(struct px_buffer *out, const json_t *python);

#endif
