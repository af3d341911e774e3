/* SPDX-License-Identifier: Apache-2.0 */
/* Finds parts of JSON text without parsing it. A body can have 32 MiB, and would take far more memory when it is parsed; and a part keeps its
 * form: 0.10 stays 0.10. */
#ifndef PX_BASE_JSON_FIND_H
#define PX_BASE_JSON_FIND_H

#include <stddef.h>

/* A part of somebody's text. `at` is NULL: nothing. */
struct px_json_span {
    const char *at;
    size_t length;
};

/* Returns the value of the first member with this name, written without escapes, of the object that the text is. In text that is not valid
 * JSON it may find anything, so whoever parses the text must decide. */
struct px_json_span px_json_find(struct px_json_span text, const char *name);

/* Returns this item of the array that the text is. The same is true for text that is not valid JSON. */
struct px_json_span px_json_item(struct px_json_span text, size_t index);

#endif
