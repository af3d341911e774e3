/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the last statement of a program in its text, without parsing it. */
#ifndef PX_GUEST_LAST_STATEMENT_H
#define PX_GUEST_LAST_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

enum px_last_statement {
    PX_LAST_UNKNOWN,    /* only the parser can tell */
    PX_LAST_NO_VALUE,   /* if the program is valid, its last statement is not an expression */
    PX_LAST_EXPRESSION, /* if the text before *ret_start and the text from there on both compile, they are the program */
    PX_LAST_ALONE,      /* the same, and there is no other statement */
};

/* `code` is UTF-8. `nested`: an f-string may contain quotes of its own kind (CPython 3.12 and later). *ret_start is the
 * offset of the statement, at the beginning of a line. It is set only for an expression. Takes time in proportion to
 * the length. */
enum px_last_statement px_last_statement_find(const char *code, size_t length, bool nested, size_t *ret_start);

#endif
