/* SPDX-License-Identifier: Apache-2.0 */
/* jansson's objects: cleanup, reading and writing. The functions are inline because not every room links
 * jansson. */
#ifndef PX_BASE_JSON_H
#define PX_BASE_JSON_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json_memory.h"

/* These take the place of jansson's json_incref() and json_decref(), which first read the count with an ordinary instruction.
 * When another thread holds the same value (a principal's ceiling), this is a data race in C. The counts of null, true
 * and false are (size_t)-1 and do not change. */
static inline bool px_json_is_constant(const json_t *json)
{
    return __atomic_load_n(&json->refcount, __ATOMIC_RELAXED) == (size_t)-1;
}

static inline json_t *px_json_hold(json_t *json)
{
    if (json && !px_json_is_constant(json))
        __atomic_add_fetch(&json->refcount, 1, __ATOMIC_RELAXED);
    return json;
}

static inline void px_json_release(json_t *json)
{
    if (json && !px_json_is_constant(json) && __atomic_sub_fetch(&json->refcount, 1, __ATOMIC_ACQ_REL) == 0)
        json_delete(json);
}
#define json_incref px_json_hold
#define json_decref px_json_release

/* jansson's functions whose result must not be ignored: after a failed allocation a member would be missing
 * without an error. */
#define PX_JSON_CHECKED(declaration) declaration __attribute__((warn_unused_result))
PX_JSON_CHECKED(int json_object_set_new(json_t *object, const char *key, json_t *value));
PX_JSON_CHECKED(int json_object_set_new_nocheck(json_t *object, const char *key, json_t *value));
PX_JSON_CHECKED(int json_object_update(json_t *object, json_t *other));
PX_JSON_CHECKED(int json_object_update_missing(json_t *object, json_t *other));
PX_JSON_CHECKED(int json_array_append_new(json_t *array, json_t *value));
PX_JSON_CHECKED(int json_array_insert_new(json_t *array, size_t index, json_t *value));
PX_JSON_CHECKED(int json_array_set_new(json_t *array, size_t index, json_t *value));
PX_JSON_CHECKED(int json_array_extend(json_t *array, json_t *other));

/* Makes an array or object unusable when a member is missing because there was no memory. Neither it nor
 * anything that contains it can be written any more: json_dumps() returns NULL, and the one place that checks
 * the text notices. */
static inline void px_json_break(json_t *json)
{
    if (json_is_object(json))
        json_object_clear(json);
    else if (json_is_array(json))
        json_array_clear(json);
    if (json)
        json->type = (json_type)-1;
}

/* These take ownership of `value`. NULL stands for a value that could not be made. */
static inline void px_json_set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) < 0)
        px_json_break(object);
}

static inline void px_json_append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) < 0)
        px_json_break(array);
}

static inline void px_json_merge(json_t *object, json_t *members)
{
    if (!members || json_object_update(object, members) < 0)
        px_json_break(object);
    json_decref(members);
}

static inline void px_drop_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}
#define px_auto_json px_auto(px_drop_json)

/* Takes ownership of a copy that jansson made, and checks that no member was left out because there was no memory.
 * Returns NULL for NULL. */
static inline json_t *px_json_whole_copy(json_t *copy, const json_t *json)
{
    if (json_equal(copy, json))
        return copy;
    json_decref(copy);
    return NULL;
}

static inline json_t *px_json_copy(const json_t *json)
{
    return px_json_whole_copy(json_copy((json_t *)(uintptr_t)json), json);
}

static inline json_t *px_json_deep_copy(const json_t *json)
{
    return px_json_whole_copy(json_deep_copy(json), json);
}

/* Without memory for a key, jansson 2.14 writes the object without that key. Here the text is collected in a
 * px_buffer, which reports missing memory. */
static inline int px_json_keep_text(const char *bytes, size_t length, void *text)
{
    px_buffer_add(text, bytes, length);
    return px_buffer_ok(text) ? 0 : -1;
}

/* Use this, not json_dumps(). The caller calls free(). NULL for NULL, and when there is no memory. */
static inline char *px_json_dumps(const json_t *json, size_t flags)
{
    struct px_buffer text = {0};
    bool bad = !json || json_dump_callback(json, px_json_keep_text, &text, flags) < 0;
    text.failed |= bad;
    return px_buffer_take(&text);
}

/* Takes ownership of the object (NULL: it could not be made) and returns it as one line of text, which the
 * caller frees, or NULL. */
static inline char *px_json_take_text(json_t *json)
{
    char *text = json ? px_json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(json);
    return text;
}

/* True if there is no value because there was no memory. For every other failure `problem` has jansson's reason. */
static inline bool px_json_no_memory(const json_error_t *problem)
{
    return !*problem->text;
}

/* ---- Reading ----
 *
 * jansson 2.14 loses bytes of a token when the buffer that it scans tokens with can't grow, and reads past the
 * end when that byte is a quote. So it is given `["ppp…",TEXT]`: the first string makes the buffer as large as
 * the longest token needs, and is looked at afterwards. Its closing quote comes where no buffer of 16, 32, 64 …
 * bytes is full. */

struct px_json_feed {
    struct {
        const char *bytes; /* NULL: the string that only fills the buffer */
        size_t left;
    } parts[5];
    size_t at;
};

static inline size_t px_json_feed(void *to, size_t size, void *data)
{
    struct px_json_feed *feed = data;
    while (feed->at < 5 && !feed->parts[feed->at].left)
        feed->at++;
    if (feed->at == 5)
        return 0;
    size_t length = feed->parts[feed->at].left < size ? feed->parts[feed->at].left : size;
    if (feed->parts[feed->at].bytes) {
        memcpy(to, feed->parts[feed->at].bytes, length);
        feed->parts[feed->at].bytes += length;
    } else {
        memset(to, 'p', length);
    }
    feed->parts[feed->at].left -= length;
    return length;
}

/* Returns NULL with errno ENOMEM when there is no memory, and NULL with errno 0 when jansson must report the error in the text. */
static inline json_t *px_json_load_padded(const char *text, size_t length, size_t token, size_t flags)
{
    size_t padding = (token + 16) / 16 * 16 + 6;
    struct px_json_feed feed = {{{"[\"", 2}, {NULL, padding}, {"\",", 2}, {text, length}, {"]", 1}}, 0};
    errno = 0;
    json_t *whole = json_load_callback(px_json_feed, &feed, flags, NULL);
    if (!whole)
        return NULL;
    json_t *value = json_array_size(whole) == 2 ? json_incref(json_array_get(whole, 1)) : NULL;
    errno = json_string_length(json_array_get(whole, 0)) == padding ? 0 : ENOMEM;
    if (errno || !((flags & JSON_DECODE_ANY) || json_is_object(value) || json_is_array(value))) {
        json_decref(value);
        value = NULL;
    }
    json_decref(whole);
    return value;
}

static inline json_t *px_json_load_weighed(const char *text, size_t length, size_t token, size_t flags,
                                           json_error_t *problem)
{
    json_t *value = px_json_load_padded(text, length, token, flags);
    if (!value && errno != ENOMEM)
        value = json_loadb(text, length, flags, problem);
    if (!value && errno == ENOMEM)
        problem->text[0] = '\0';
    return value;
}

/* Use these, not jansson's own functions. `problem` may be NULL; px_json_no_memory() looks at it. */
static inline json_t *px_json_loadb(const char *text, size_t length, size_t flags, json_error_t *problem)
{
    json_error_t unwanted;
    return px_json_load_weighed(text, length, px_json_memory_estimate(text, length).token, flags,
                                problem ? problem : &unwanted);
}

/* Returns NULL for NULL. */
static inline json_t *px_json_loads(const char *text, size_t flags, json_error_t *problem)
{
    if (!text && problem)
        problem->text[0] = '\0';
    return text ? px_json_loadb(text, strlen(text), flags, problem) : NULL;
}

/* Reads JSON from somebody who is not trusted. `problem` may be NULL. Returns NULL, with json_error_out_of_memory, also when the
 * values would take more than PX_JSON_READ_MAX of memory. */
#define PX_JSON_READ_MAX (256u << 20)
#define PX_JSON_TOO_MUCH "values that would take more than 256 MiB of memory"

static inline json_t *px_json_read(const char *text, size_t length, size_t flags, json_error_t *problem)
{
    json_error_t unwanted;
    struct px_json_memory weight = px_json_memory_estimate(text, length);
    problem = problem ? problem : &unwanted;
    if (weight.bytes <= PX_JSON_READ_MAX)
        return px_json_load_weighed(text, length, weight.token, flags, problem);
    *problem = (json_error_t){.line = -1, .column = -1, .text = PX_JSON_TOO_MUCH};
    problem->text[sizeof problem->text - 1] = json_error_out_of_memory;
    return NULL;
}

#endif
