/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repl_scan.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

struct scan {
    const char *at;
    size_t depth; /* open brackets */
    bool open_string, backslash, broken, block;
};

bool repl_is_word_byte(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

static bool begins_block(const char *line)
{
    static const char *const words[] = {"if", "while", "for", "try", "with", "def", "class", "async"};
    size_t blank = strspn(line, " \t\f");
    if (!line[blank] || strchr("#\n\r", line[blank]))
        return false;
    if (blank || *line == '@')
        return true;
    for (size_t i = 0; i < PX_COUNT(words); i++) {
        size_t length = strlen(words[i]);
        if (strncmp(line, words[i], length) == 0 && !repl_is_word_byte(line[length]))
            return true;
    }
    return false;
}

/* Moves from the opening quote to the character after the closing one. */
static void scan_string(struct scan *scan)
{
    char quote = *scan->at;
    bool triple = scan->at[1] == quote && scan->at[2] == quote;
    scan->at += triple ? 3 : 1;
    for (; *scan->at; scan->at++) {
        if (*scan->at == '\\' && scan->at[1]) {
            scan->at++;
        } else if (*scan->at == quote && (!triple || (scan->at[1] == quote && scan->at[2] == quote))) {
            scan->at += triple ? 3 : 1;
            return;
        } else if (*scan->at == '\n' && !triple) {
            scan->broken = true;
            return;
        }
    }
    scan->open_string = true;
}

/* Moves over a logical line: up to a newline that is not inside brackets or strings. */
static void scan_line(struct scan *scan)
{
    char last = 0;
    scan->block |= begins_block(scan->at);
    while (*scan->at && !(*scan->at == '\n' && !scan->depth) && !scan->broken) {
        char c = *scan->at;
        if (c == '#') {
            scan->at += strcspn(scan->at, "\n");
            continue;
        }
        if (c == '"' || c == '\'') {
            scan_string(scan);
            last = c;
            continue;
        }
        if (c == '\\' && scan->at[1] == '\n') {
            scan->backslash = !scan->at[2];
            scan->at += 2;
            continue;
        }
        if (strchr("([{", c))
            scan->depth++;
        else if (strchr(")]}", c) && scan->depth)
            scan->depth--;
        if (!strchr(" \t\f\r\n", c))
            last = c;
        scan->at++;
    }
    scan->block |= last == ':';
    scan->at += *scan->at == '\n';
}

static bool last_line_is_blank(const char *text)
{
    size_t end = strlen(text);
    if (end && text[end - 1] == '\n')
        end--;
    while (end && strchr(" \t\f\r", text[end - 1]))
        end--;
    return !end || text[end - 1] == '\n';
}

bool repl_is_complete(const char *text)
{
    struct scan scan = {.at = text};
    while (*scan.at && !scan.broken)
        scan_line(&scan);
    if (scan.broken)
        return true;
    if (scan.depth || scan.open_string || scan.backslash)
        return false;
    return !scan.block || last_line_is_blank(text);
}
