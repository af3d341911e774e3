/* jansson's objects: cleanup and text. Inline, since not every room links jansson. */
#ifndef PX_BASE_JSON_H
#define PX_BASE_JSON_H

#include <jansson.h>

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

#endif
