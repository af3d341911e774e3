/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out whether the input at the prompt is complete. */
#ifndef PX_CLI_REPL_SCAN_H
#define PX_CLI_REPL_SCAN_H

#include <stdbool.h>

/* True if the text (whole lines) is complete and can be run. It decides as Python's prompt does: no open bracket or
 * string, no backslash at the end, and a block ends with an empty line. */
bool repl_is_complete(const char *text);

/* True if the byte may be part of a name: a letter, digit or underscore, or part of a character beyond ASCII. */
bool repl_is_word_byte(char c);

#endif
