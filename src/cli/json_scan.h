/* SPDX-License-Identifier: Apache-2.0 */
/* Finds parts of a JSON text without reading it into objects, so that a part keeps its form: 0.10 stays 0.10. The text
 * must be valid JSON, which a parser has read before. */
#ifndef PX_CLI_JSON_SCAN_H
#define PX_CLI_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct json_part {
    const char *at; /* not NUL-terminated; NULL: there is no such part */
    size_t length;
};

/* The value of the object's member with this name, which has no characters that JSON escapes. */
struct json_part json_scan_member(struct json_part object, const char *name);

/* The item of the array. */
struct json_part json_scan_item(struct json_part array, size_t index);

#endif
