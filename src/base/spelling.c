/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spelling.h"

#include <stdint.h>
#include <string.h>

/* No known name is longer than this. A longer word is not similar to any of them. */
#define NAME_MAX_LENGTH 64

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

/* The edit distance. Two exchanged neighbouring letters count as one edit, so three rows of the table are needed. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][NAME_MAX_LENGTH + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            char x = folded(a[i - 1]), y = folded(b[j - 1]);
            size_t least = above[j - 1] + (x != y);
            if (above[j] + 1 < least)
                least = above[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            if (i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y && before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            row[j] = least;
        }
        size_t *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[b_length];
}

void px_spelling_offer(struct px_spelling *nearest, const char *candidate)
{
    size_t wanted = strlen(nearest->wanted), length = strlen(candidate);
    if (!wanted || wanted > NAME_MAX_LENGTH || length > NAME_MAX_LENGTH)
        return;
    size_t distance = edit_distance(nearest->wanted, wanted, candidate, length);
    /* Up to a third of the letters may differ; with more it is another word. */
    size_t most = (wanted > length ? wanted : length) / 3;
    /* A word that is the beginning of a name stands for that name. */
    if (wanted >= 4 && wanted < length && edit_distance(nearest->wanted, wanted, candidate, wanted) == 0)
        distance = 1;
    if (distance > (most ? most : 1) || (nearest->best && distance >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = distance;
}

bool px_name_is_dunder(const char *name)
{
    size_t length = strlen(name);
    return strncmp(name, "__", 2) == 0 || (length >= 2 && strcmp(name + length - 2, "__") == 0);
}

bool px_word_is_listed(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; *at; at += strcspn(at, " ")) {
        at += strspn(at, " ");
        if (length > 0 && strcspn(at, " ") == length && memcmp(at, word, length) == 0)
            return true;
    }
    return false;
}

bool px_word_is_plain(const char *text, size_t most)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t length = text ? strspn(text, plain) : 0;
    return length && length <= most && !text[length];
}

bool px_word_is_session_id(const char *text, size_t length, size_t most)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    return length >= 1 && length <= most && strspn(text, allowed) >= length && strncmp(text, "..", length) != 0;
}

bool px_name_is_keyword(const char *name)
{
    return px_word_is_listed("False None True and as assert async await break class continue def del elif else except "
                             "finally for from global if import in is lambda nonlocal not or pass raise return try "
                             "while with yield",
                             name);
}
