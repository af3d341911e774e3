/* SPDX-License-Identifier: Apache-2.0 */
/* Walks through a message without recursion. Names and the id are kept as positions in the message. */
#include "jsonrpc/json_diagnose.h"

#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

#define JSON_NAMES_MAX 4 /* how many keys and indices of the path to a bad value an error names */
#define NAME_SHOWN 60

struct span {
    const char *start; /* NULL: a list is at this level, and `length` is the index of its item */
    size_t length;
};

struct json_walk {
    const char *at, *end;
    const char *stop; /* the position at which jansson stopped */
    size_t depth;
    char shallow[256];                   /* '{' or '[' for each of the first levels; needs no allocation */
    struct px_buffer deep;               /* the same for deeper levels */
    struct span names[JSON_NAMES_MAX];   /* the keys and indices that lead to this position */
    struct span culprit[JSON_NAMES_MAX]; /* those that lead to `stop` */
    size_t culprit_depth;
    struct span id;
    unsigned ids;
};

static char peek(struct json_walk *walk)
{
    while (walk->at < walk->end && memchr(" \t\r\n", *walk->at, 4))
        walk->at++;
    return walk->at < walk->end ? *walk->at : '\0';
}

static bool take(struct json_walk *walk, char wanted)
{
    if (walk->at >= walk->end || *walk->at != wanted)
        return false;
    walk->at++;
    return true;
}

static bool take_one_of(struct json_walk *walk, const char *set)
{
    if (walk->at >= walk->end || !memchr(set, *walk->at, strlen(set)))
        return false;
    walk->at++;
    return true;
}

static bool take_digits(struct json_walk *walk)
{
    const char *start = walk->at;
    while (take_one_of(walk, "0123456789"))
        ;
    return walk->at > start;
}

static bool take_escape(struct json_walk *walk)
{
    if (!take(walk, 'u'))
        return take_one_of(walk, "\"\\/bfnrt");
    for (int i = 0; i < 4; i++)
        if (!take_one_of(walk, "0123456789abcdefABCDEF"))
            return false;
    return true;
}

static bool take_string(struct json_walk *walk)
{
    if (!take(walk, '"'))
        return false;
    while (walk->at < walk->end && (unsigned char)*walk->at >= 0x20) {
        char c = *walk->at++;
        if (c == '"')
            return true;
        if (c == '\\' && !take_escape(walk))
            return false;
    }
    return false;
}

static bool take_number(struct json_walk *walk)
{
    take(walk, '-');
    if (!take(walk, '0') && !take_digits(walk))
        return false;
    if (take(walk, '.') && !take_digits(walk))
        return false;
    if (!take_one_of(walk, "eE"))
        return true;
    take_one_of(walk, "+-");
    return take_digits(walk);
}

static bool take_word(struct json_walk *walk, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(walk->end - walk->at) < length || memcmp(walk->at, word, length) != 0)
        return false;
    walk->at += length;
    return true;
}

static char innermost(const struct json_walk *walk)
{
    if (!walk->depth)
        return '\0';
    return walk->depth <= sizeof walk->shallow ? walk->shallow[walk->depth - 1]
                                               : walk->deep.data[walk->depth - sizeof walk->shallow - 1];
}

/* What leads to this position now leads to `stop` too, if that is not reached yet. */
static void note_place(struct json_walk *walk, const char *start)
{
    if (start >= walk->stop)
        return;
    walk->culprit_depth = walk->depth < JSON_NAMES_MAX ? walk->depth : JSON_NAMES_MAX;
    memcpy(walk->culprit, walk->names, sizeof walk->culprit);
}

/* Reads a key and its colon. */
static bool take_key(struct json_walk *walk)
{
    peek(walk);
    const char *start = walk->at;
    if (!take_string(walk))
        return false;
    size_t level = walk->depth - 1;
    if (level < JSON_NAMES_MAX)
        walk->names[level] = (struct span){start + 1, (size_t)(walk->at - start) - 2};
    note_place(walk, start);
    peek(walk);
    return take(walk, ':');
}

/* A list goes on with another item. */
static void count_item(struct json_walk *walk)
{
    if (walk->depth <= JSON_NAMES_MAX)
        walk->names[walk->depth - 1].length++;
    note_place(walk, walk->at);
}

static bool close_level(struct json_walk *walk)
{
    if (peek(walk) != (innermost(walk) == '{' ? '}' : ']'))
        return false;
    walk->at++;
    walk->depth--;
    if (walk->depth >= sizeof walk->shallow)
        walk->deep.length--;
    if (walk->at < walk->stop && walk->culprit_depth > walk->depth)
        walk->culprit_depth = walk->depth;
    return true;
}

static bool same(const struct span *span, const char *text)
{
    return span->start && span->length == strlen(text) && memcmp(span->start, text, span->length) == 0;
}

/* Reads a string, a number or a word. */
static bool take_scalar(struct json_walk *walk)
{
    bool is_id = walk->depth == 1 && innermost(walk) == '{' && same(&walk->names[0], "id");
    char first = peek(walk);
    const char *start = walk->at;
    bool good = first == '"' ? take_string(walk)
                             : take_word(walk, "null") || take_word(walk, "true") || take_word(walk, "false") ||
                                   take_number(walk);
    if (good && is_id && first != 't' && first != 'f')
        walk->id = (struct span){start, (size_t)(walk->at - start)};
    walk->ids += is_id;
    return good;
}

/* Reads a value up to the end of its first scalar or empty container. */
static bool take_value(struct json_walk *walk)
{
    for (;;) {
        char first = peek(walk);
        if (first != '{' && first != '[')
            return take_scalar(walk);
        walk->at++;
        if (walk->depth < sizeof walk->shallow)
            walk->shallow[walk->depth] = first;
        else
            px_buffer_add_byte(&walk->deep, first);
        if (!px_buffer_ok(&walk->deep))
            return false;
        if (first == '[' && walk->depth < JSON_NAMES_MAX)
            walk->names[walk->depth] = (struct span){0};
        walk->depth++;
        if (first == '[')
            note_place(walk, walk->at);
        if (close_level(walk))
            return true;
        if (first == '{' && !take_key(walk))
            return false;
    }
}

static bool is_json(struct json_walk *walk)
{
    while (take_value(walk)) {
        while (walk->depth && close_level(walk))
            ;
        if (!walk->depth)
            return peek(walk) == '\0' && walk->at == walk->end;
        if (!take(walk, ','))
            return false;
        if (innermost(walk) == '{' && !take_key(walk))
            return false;
        if (innermost(walk) == '[')
            count_item(walk);
    }
    return false;
}

static const struct {
    enum json_error_code code;
    const char *what, *hint;
} refusals[] = {
    {json_error_invalid_syntax, "half of a surrogate pair",
     "Send text without lone surrogates. Write a character beyond U+FFFF as both halves."},
    {json_error_invalid_utf8, "bytes that are not UTF-8", "Send text as UTF-8, and other bytes as base64."},
    {json_error_numeric_overflow, "a number that is too large",
     "Send a larger integer as a string: integers have 64 bits here, and real numbers are doubles."},
    {json_error_null_byte_in_key, "a NUL character in the name", "Leave it out."},
    {json_error_duplicate_key, "given twice", "Send each key once."},
    {json_error_stack_overflow, "too many levels of nesting", "Send at most 2000."},
    {json_error_out_of_memory, PX_JSON_TOO_MUCH, "Send large data as files."},
};

static void explain(const struct json_walk *walk, const json_error_t *problem, pyexec_error *error)
{
    struct px_buffer px_auto_buffer name = {0};
    size_t first = walk->culprit_depth > 1 && same(&walk->culprit[0], "params") ? 1 : 0;
    for (size_t i = first; i < walk->culprit_depth; i++) {
        const struct span *span = &walk->culprit[i];
        if (!span->start) {
            px_buffer_printf(&name, "[%zu]", span->length);
            continue;
        }
        px_buffer_add_string(&name, i > first ? "." : "");
        px_utf8_repair(&name, span->start, px_utf8_truncate(span->start, span->length, NAME_SHOWN));
    }
    for (size_t i = 0; i < PX_COUNT(refusals); i++)
        if (refusals[i].code == json_error_code(problem)) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "%s%s%s", px_buffer_shown(&name),
                         px_buffer_length(&name) ? ": " : "", refusals[i].what);
            px_error_hint(error, "%s", refusals[i].hint);
            return;
        }
    px_error_set(error, PYEXEC_INTERNAL, "%s", problem->text);
}

int px_json_diagnose_message(const char *message, size_t length, const json_error_t *problem, struct px_buffer *ret_id,
                             pyexec_error *error)
{
    struct json_walk walk = {.at = message, .end = message + length, .stop = message + problem->position};
    bool json = is_json(&walk);
    px_buffer_done(&walk.deep);
    if (!json)
        return PX_RPC_PARSE_ERROR;
    px_buffer_add(ret_id, walk.id.start, walk.id.length);
    if (!walk.id.start || walk.ids > 1 || !px_utf8_valid(ret_id->data, ret_id->length, NULL))
        return PX_RPC_INVALID_REQUEST;
    explain(&walk, problem, error);
    return 0;
}

bool px_json_diagnose(const char *text, size_t length, const json_error_t *problem, pyexec_error *error)
{
    struct json_walk walk = {.at = text, .end = text + length, .stop = text + problem->position};
    bool json = is_json(&walk);
    px_buffer_done(&walk.deep);
    if (json)
        explain(&walk, problem, error);
    return json;
}

size_t px_json_diagnose_find_id(const char *message, size_t length, const char **ret_start)
{
    struct json_walk walk = {.at = message, .end = message + length, .stop = message};
    is_json(&walk);
    px_buffer_done(&walk.deep);
    bool found = walk.id.start && walk.ids == 1 && px_utf8_valid(walk.id.start, walk.id.length, NULL);
    *ret_start = found ? walk.id.start : "null";
    return found ? walk.id.length : 4;
}
