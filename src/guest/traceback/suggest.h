/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean: …?" for names and attributes that don't exist, with the same distance that CPython uses. */
#ifndef PX_GUEST_TRACEBACK_SUGGEST_H
#define PX_GUEST_TRACEBACK_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "guest/python.h"

/* Called in the zygote. Returns 0, or -1 with a Python exception set. */
int px_suggest_prepare(void);

/* Appends the sentence, or nothing. `as_printed`: only if this version of Python prints it; otherwise whenever
 * there is a suggestion. */
void px_suggest(struct px_buffer *to, PyObject *exception, bool as_printed);

/* Returns how far a name is from the wanted name; SIZE_MAX when it is too far to be meant. */
size_t px_suggest_distance(const char *wanted, const char *name);

#endif
