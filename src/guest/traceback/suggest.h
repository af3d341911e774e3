/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean: …?" for names and attributes that don't exist, by CPython's own measure. */
#ifndef PX_GUEST_TRACEBACK_SUGGEST_H
#define PX_GUEST_TRACEBACK_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "guest/python.h"

/* Zygote. 0, or -1 with a Python exception set. */
int px_suggest_prepare(void);

/* Appends the sentence, or nothing. `as_printed`: only what this version of Python prints;
 * otherwise all that is known. */
void px_suggest(struct px_buffer *to, PyObject *exception, bool as_printed);

/* How far a name is from one that was wanted; SIZE_MAX: too far to be meant. */
size_t px_suggest_distance(const char *wanted, const char *name);

#endif
