/* jansson's objects: cleanup and text. Inline, since not every room links jansson. */
#ifndef PX_BASE_JSON_H
#define PX_BASE_JSON_H

#include <jansson.h>

#include "base/weight.h"

static inline void px_drop_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}
#define px_auto_json __attribute__((cleanup(px_drop_json)))

/* Takes the object (NULL: one that could not be made) and returns it as one line of text, for
 * free(), or NULL. */
static inline char *px_json_take_text(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(json);
    return text;
}

/* JSON of somebody who is not trusted: json_loadb(), but NULL too, with json_error_out_of_memory, when
 * it would take more memory than PX_JSON_READ_MAX. */
#define PX_JSON_READ_MAX (256u << 20)
#define PX_JSON_TOO_MUCH "values that would take more than 256 MiB of memory"

static inline json_t *px_json_read(const char *text, size_t length, size_t flags, json_error_t *problem)
{
    if (px_weigh(text, length).bytes <= PX_JSON_READ_MAX)
        return json_loadb(text, length, flags, problem);
    *problem = (json_error_t){.line = -1, .column = -1, .text = PX_JSON_TOO_MUCH};
    problem->text[sizeof problem->text - 1] = json_error_out_of_memory;
    return NULL;
}

#endif
