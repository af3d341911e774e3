/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of `pyexec repl`: cells read from a terminal (with line editing, history and
 * completion) or from a file, and the signals of both reading and running. */
#ifndef PX_CLI_REPL_READ_H
#define PX_CLI_REPL_READ_H

#include <stdbool.h>

#include "base/buffer.h"
#include "pyexec.h"

#define REPL_WORD_MAX 200 /* length of the longest name to complete */

/* Appends candidates for the last part of a dotted name, one on each line. They are names and safe to show on a
 * terminal. */
typedef void (*repl_complete_fn)(void *userdata, const char *word, struct px_buffer *names);

struct repl_reader;
/* NULL: there is no memory. Blocks SIGINT, SIGTERM and SIGHUP in this thread except while it waits, so call it
 * before other threads are started. history_path is absolute or NULL; the reader takes ownership. */
struct repl_reader *repl_reader_new(repl_complete_fn complete, void *userdata, char *history_path);
void repl_reader_free(struct repl_reader *reader);
bool repl_reader_interactive(const struct repl_reader *reader);

enum repl_read { REPL_CELL, REPL_DROPPED, REPL_END };

/* The next cell, whole lines. REPL_DROPPED: Ctrl-C. REPL_END: end of input, or a signal that
 * ends the program (repl_ending_signal). */
enum repl_read repl_read_cell(struct repl_reader *reader, struct px_buffer *cell);

/* From now until repl_signals_release, signals are for this request: the first Ctrl-C
 * interrupts it, a second one and SIGTERM or SIGHUP cancel it. */
void repl_signals_hold(pyexec_request *request);
void repl_signals_release(void);
/* The signal that ends the program, or 0. */
int repl_ending_signal(void);

#endif
