/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of result.def as data: the name, type and meaning of each member, without its value. */
#ifndef PX_RESULT_RESULT_ROWS_H
#define PX_RESULT_RESULT_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

/* The objects of result.def, by their names in OpenAPI. */
#define PX_RESULT_OWNERS(OWNER) \
    OWNER(Result) \
    OWNER(Error) \
    OWNER(Display) \
    OWNER(ChangedFile) \
    OWNER(Denial) \
    OWNER(Usage) \
    OWNER(ToolUsage) \
    OWNER(SessionOfResult) \
    OWNER(Restored) \
    OWNER(EnvironmentOfResult) \
    OWNER(File) \
    OWNER(FolderEntry) \
    OWNER(Session) \
    OWNER(SessionDetails)

enum px_result_owner {
#define PX_OWNER(name) PX_OWNER_##name,
    PX_RESULT_OWNERS(PX_OWNER)
#undef PX_OWNER
        PX_OWNER_COUNT
};

/* The types of result.def: TYPE(name, JSON Schema type, may be null). "" is any type. */
#define PX_RESULT_TYPES(TYPE) \
    TYPE(status, "string", false) \
    TYPE(string, "string", false) \
    TYPE(nullable_string, "string", true) \
    TYPE(text, "string", false) \
    TYPE(nullable_text, "string", true) \
    TYPE(base64, "string", true) \
    TYPE(boolean, "boolean", false) \
    TYPE(count, "integer", false) \
    TYPE(code, "integer", false) \
    TYPE(time, "integer", false) \
    TYPE(line, "integer", true) \
    TYPE(number, "number", false) \
    TYPE(any, "", true) \
    TYPE(forms, "object", false) \
    TYPE(object, "object", false) \
    TYPE(layers, "array", false) \
    TYPE(Tools, "array", false) \
    TYPE(Policy, "object", false)

enum px_result_type {
#define PX_TYPE(name, schema, null) PX_TYPE_##name,
    PX_RESULT_TYPES(PX_TYPE)
#undef PX_TYPE
        PX_TYPE_OBJECT,
    PX_TYPE_LIST,
    PX_TYPE_COUNT
};

struct px_result_row {
    enum px_result_owner owner;
    enum px_result_type type;
    enum px_result_owner of; /* for PX_TYPE_OBJECT and PX_TYPE_LIST */
    bool null;               /* for PX_TYPE_OBJECT: it may be null */
    const char *key;
    const char *says; /* FACT, CLAIM, EITHER */
    const char *meaning;
};
extern const struct px_result_row px_result_rows[];
extern const size_t px_result_row_count;

/* Returns the JSON Schema of an object, newly made. Objects inside it are {"$ref": PREFIX + name}, or whole
 * schemas when `prefix` is NULL. */
json_t *px_result_schema(enum px_result_owner owner, const char *prefix);

/* Returns the members of a run's result as a JSON array of {"key", "type", "null", "meaning"}; `type` is that of JSON
 * Schema, "" for any. */
json_t *px_result_table(void);

/* Appends a Markdown table of the members of a run's result, for docs/results.md. */
void px_result_describe(struct px_buffer *out);

#endif
