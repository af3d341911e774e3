/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_memory.h"

#include <stdbool.h>

/* The memory that jansson 2.14 uses on a 64-bit machine, including malloc's own bytes: a number and its place in an array; a
 * string without its characters; an empty array or object; a member without the characters of its key. */
enum { VALUE = 64, STRING = 64, ARRAY = 128, OBJECT = 256, MEMBER = 112 };

static uint64_t weight_of(char c)
{
    switch (c) {
    case '"':
        return STRING;
    case '[':
        return ARRAY;
    case '{':
        return OBJECT;
    case ',':
        return VALUE;
    case ':':
        return MEMBER;
    default:
        return 0;
    }
}

/* Reads to the end of a number or a word. */
static bool is_part_of_number(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '.' || c == '+' || c == '-';
}

struct px_json_memory px_json_memory_estimate(const char *text, size_t length)
{
    struct px_json_memory weight = {.bytes = VALUE + length};
    size_t depth = 0, start = 0;
    bool string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (string) {
            i += c == '\\';
            string = c != '"';
            if (!string && i + 1 - start > weight.token)
                weight.token = i + 1 - start;
            continue;
        }
        if (!is_part_of_number(c)) {
            if (i - start > weight.token)
                weight.token = i - start;
            start = c == '"' ? i : i + 1;
        }
        string = c == '"';
        weight.bytes += weight_of(c);
        depth += c == '[' || c == '{';
        depth -= depth && (c == ']' || c == '}');
        if (depth > weight.depth)
            weight.depth = depth;
    }
    if (length - start > weight.token && start < length)
        weight.token = length - start;
    return weight;
}
