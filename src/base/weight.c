#include "base/weight.h"

#include <stdbool.h>

/* Of jansson 2.14 on a machine of 64 bits, with malloc's own: a number and its place in an array; a
 * string without its characters; an empty array and object; a member without its key's characters. */
enum { VALUE = 64, STRING = 64, ARRAY = 128, OBJECT = 256, MEMBER = 112 };

static uint64_t weight_of(char c)
{
    switch (c) {
    case '"': return STRING;
    case '[': return ARRAY;
    case '{': return OBJECT;
    case ',': return VALUE;
    case ':': return MEMBER;
    default: return 0;
    }
}

struct px_weight px_weigh(const char *text, size_t length)
{
    struct px_weight weight = {VALUE + length, 0};
    size_t depth = 0;
    bool string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (string) {
            i += c == '\\';
            string = c != '"';
            continue;
        }
        string = c == '"';
        weight.bytes += weight_of(c);
        depth += c == '[' || c == '{';
        depth -= depth && (c == ']' || c == '}');
        if (depth > weight.depth)
            weight.depth = depth;
    }
    return weight;
}
