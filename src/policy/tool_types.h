/* SPDX-License-Identifier: Apache-2.0 */
/* JSON and JSON Schema as Python text: values, types, and names that can be parameters. The input is not trusted:
 * every text has a limit, and a schema that refers to itself comes to an end. */
#ifndef PX_POLICY_TOOL_TYPES_H
#define PX_POLICY_TOOL_TYPES_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/json.h"

/* Names of Python's `typing` that a type uses. */
enum { PX_TYPING_ANY = 1, PX_TYPING_LITERAL = 2, PX_TYPING_NOT_REQUIRED = 4, PX_TYPING_TYPED_DICT = 8 };

/* True if a member of a tool's arguments can be a parameter of the function: an identifier with letters that are
 * ASCII or from a few other scripts, and that Python does not change or refuse. src/guest/tools/tools.py has the
 * same rule. */
bool px_tool_type_is_parameter(const char *name, size_t length);

/* Appends a string literal, on one line. */
void px_tool_type_string(struct px_buffer *out, const char *bytes, size_t length);

/* The same for characters inside a literal that is written elsewhere: quotes and newlines are not escaped. */
void px_tool_type_character(struct px_buffer *out, const char *bytes, size_t length);

/* Appends a JSON value as a Python expression. */
void px_tool_type_value(struct px_buffer *out, const json_t *value);

/* Appends the type for a schema, such as `list[str] | None`. `root` is the schema at which its `$ref` start. */
void px_tool_type_write(struct px_buffer *out, const json_t *schema, const json_t *root, unsigned *uses);

#endif
