/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of a call's arguments, if all of them are plain values. Most are, and this touches far less of the memory
 * that the processes of scripts share than the encoder of values.py, which can write everything. */
#ifndef PX_GUEST_TOOLS_PLAIN_JSON_H
#define PX_GUEST_TOOLS_PLAIN_JSON_H

#include "guest/python.h"

/* plain_json(dict, limit) returns a str as values.py would write it. It returns None when a value is not None, a
 * bool, a str without lone surrogates or an int of 64 bits, or when the text has more than `limit` bytes. */
PyObject *px_plain_json(PyObject *self, PyObject *arguments);

#endif
