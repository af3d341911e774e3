/* SPDX-License-Identifier: Apache-2.0 */
/* The script is not trusted. Its metadata is text, which is parsed here within its bounds; nothing of it is executed. */
#include "env_build/env_script.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"

#define START "# /// script"
#define END "# ///"
#define DEEPEST 32
#define DEPENDENCIES_MAX 1000

void env_script_done(struct env_script *script)
{
    px_texts_done(&script->dependencies);
    free(script->requires);
    script->requires = NULL;
}

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the script's metadata (PEP 723): %s", what);
    return px_error_hint(error,
                         "Write it as comments: # /// script, then # requires-python = \">=3.11\" and # dependencies = "
                         "[\"pandas>=2\"], then # ///. --environment NAME uses an environment instead.");
}

/* ---- The block in the comments ---- */

struct script_line {
    const char *start;
    size_t length;
};

static bool next_line(const char **at, const char *end, struct script_line *ret)
{
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at)), *stop = newline ? newline : end;
    ret->start = *at;
    ret->length = (size_t)(stop - *at);
    if (ret->length && stop[-1] == '\r')
        ret->length--;
    *at = newline ? newline + 1 : end;
    return true;
}

static bool is_line(const struct script_line *line, const char *text)
{
    return line->length == strlen(text) && memcmp(line->start, text, line->length) == 0;
}

/* The block ends at the last line "# ///" of the comment. Without one it is an ordinary comment: then nothing is appended. */
static void take_block(const char **at, const char *end, struct px_buffer *out)
{
    struct script_line line;
    const char *next = *at;
    px_auto_buffer struct px_buffer text = {0};
    while (next_line(&next, end, &line) && line.length && *line.start == '#' &&
           (line.length == 1 || line.start[1] == ' ')) {
        if (is_line(&line, END)) {
            px_buffer_add_buffer(out, &text);
            px_buffer_add_byte(out, '\n');
            text.length = 0;
            *at = next;
        }
        px_buffer_add(&text, line.start + (line.length > 1 ? 2 : 1), line.length - (line.length > 1 ? 2 : 1));
        px_buffer_add_byte(&text, '\n');
        out->failed |= text.failed;
    }
}

static int find_metadata(const char *code, size_t length, struct px_buffer *ret, pyexec_error *error)
{
    const char *at = code, *end = code + length;
    struct script_line line;
    while (next_line(&at, end, &line)) {
        px_auto_buffer struct px_buffer block = {0};
        if (!is_line(&line, START))
            continue;
        take_block(&at, end, &block);
        if (block.length && ret->length)
            return refuse("there are two of them", error);
        px_buffer_add_buffer(ret, &block);
    }
    return px_buffer_ok(ret) ? 0 : px_error_oom(error);
}

/* ---- TOML ---- */

struct toml {
    const char *at;
    pyexec_error *error;
};

static void skip_space(struct toml *toml, bool lines)
{
    for (;;) {
        toml->at += strspn(toml->at, lines ? " \t\r\n" : " \t");
        if (*toml->at != '#')
            return;
        toml->at += strcspn(toml->at, "\n");
        if (!lines)
            return;
    }
}

static bool take(struct toml *toml, const char *text)
{
    if (strncmp(toml->at, text, strlen(text)) != 0)
        return false;
    toml->at += strlen(text);
    return true;
}

static void add_character(struct px_buffer *out, unsigned long point)
{
    if (point < 0x80) {
        px_buffer_add_byte(out, (char)point);
    } else if (point < 0x800) {
        px_buffer_add_byte(out, (char)(0xc0 | point >> 6));
        px_buffer_add_byte(out, (char)(0x80 | (point & 0x3f)));
    } else if (point < 0x10000) {
        px_buffer_add_byte(out, (char)(0xe0 | point >> 12));
        px_buffer_add_byte(out, (char)(0x80 | (point >> 6 & 0x3f)));
        px_buffer_add_byte(out, (char)(0x80 | (point & 0x3f)));
    } else {
        px_buffer_add_byte(out, (char)(0xf0 | (point >> 18 & 7)));
        px_buffer_add_byte(out, (char)(0x80 | (point >> 12 & 0x3f)));
        px_buffer_add_byte(out, (char)(0x80 | (point >> 6 & 0x3f)));
        px_buffer_add_byte(out, (char)(0x80 | (point & 0x3f)));
    }
}

/* After the backslash. */
static int take_escape(struct toml *toml, struct px_buffer *out)
{
    static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
    char c = *toml->at++;
    const char *known = c ? strchr(names, c) : NULL;
    if (known) {
        px_buffer_add_byte(out, values[known - names]);
        return 0;
    }
    size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    char number[9] = "";
    for (size_t i = 0; i < digits; i++) {
        if (!*toml->at || !strchr("0123456789abcdefABCDEF", *toml->at))
            return refuse("a \\u in a text has too few digits", toml->error);
        number[i] = *toml->at++;
    }
    unsigned long point = strtoul(number, NULL, 16);
    if (!digits || !point || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return refuse("a text has an unknown \\ sequence", toml->error);
    add_character(out, point);
    return 0;
}

/* A text of any of the four kinds. */
static int take_string(struct toml *toml, struct px_buffer *out)
{
    char quote = *toml->at;
    const char ends[] = {quote, quote, quote, 0};
    bool multiline = take(toml, ends);
    if (!multiline)
        toml->at++;
    else if (!take(toml, "\n"))
        take(toml, "\r\n");
    for (;;) {
        if (!*toml->at || (!multiline && *toml->at == '\n'))
            return refuse("a text has no closing quote", toml->error);
        if (multiline ? strncmp(toml->at, ends, 3) == 0 : *toml->at == quote) {
            toml->at += multiline ? 3 : 1;
            return 0;
        }
        if (quote == '"' && *toml->at == '\\') {
            toml->at++;
            if (multiline && strchr(" \t\r\n", *toml->at))
                toml->at += strspn(toml->at, " \t\r\n");
            else if (take_escape(toml, out) < 0)
                return -1;
            continue;
        }
        px_buffer_add_byte(out, *toml->at++);
    }
}

static int skip_value(struct toml *toml, unsigned depth);

static int take_key(struct toml *toml, struct px_buffer *out)
{
    for (;;) {
        skip_space(toml, false);
        size_t length = strspn(toml->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
        if (*toml->at == '"' || *toml->at == '\'') {
            if (take_string(toml, out) < 0)
                return -1;
        } else if (length) {
            px_buffer_add(out, toml->at, length);
            toml->at += length;
        } else {
            return refuse("a line does not begin with a key", toml->error);
        }
        skip_space(toml, false);
        if (!take(toml, "."))
            break;
        px_buffer_add_byte(out, '.');
    }
    return take(toml, "=") ? 0 : refuse("a key has no value", toml->error);
}

static int skip_list(struct toml *toml, char close, unsigned depth)
{
    toml->at++;
    for (;;) {
        px_auto_buffer struct px_buffer key = {0};
        skip_space(toml, true);
        if (*toml->at == close) {
            toml->at++;
            return 0;
        }
        if ((close == '}' && take_key(toml, &key) < 0) || skip_value(toml, depth + 1) < 0)
            return -1;
        skip_space(toml, true);
        if (!take(toml, ",") && *toml->at != close)
            return refuse("a list has no closing bracket", toml->error);
    }
}

static int skip_value(struct toml *toml, unsigned depth)
{
    px_auto_buffer struct px_buffer text = {0};
    skip_space(toml, false);
    if (depth > DEEPEST)
        return refuse("lists are nested too deeply", toml->error);
    if (*toml->at == '"' || *toml->at == '\'')
        return take_string(toml, &text);
    if (*toml->at == '[' || *toml->at == '{')
        return skip_list(toml, *toml->at == '[' ? ']' : '}', depth);
    size_t length = strcspn(toml->at, ",]}#\n");
    if (!length)
        return refuse("a key has no value", toml->error);
    toml->at += length;
    return 0;
}

static int take_dependencies(struct toml *toml, struct env_script *ret)
{
    if (!take(toml, "["))
        return refuse("dependencies is not a list of texts", toml->error);
    for (;;) {
        px_auto_buffer struct px_buffer text = {0};
        skip_space(toml, true);
        if (take(toml, "]"))
            return 0;
        if ((*toml->at != '"' && *toml->at != '\'') || ret->dependencies.count >= DEPENDENCIES_MAX)
            return refuse("dependencies is not a list of at most 1000 texts", toml->error);
        if (take_string(toml, &text) < 0)
            return -1;
        px_texts_add(&ret->dependencies, px_buffer_string(&text));
        skip_space(toml, true);
        if (!take(toml, ",") && *toml->at != ']')
            return refuse("dependencies has no closing bracket", toml->error);
    }
}

static int take_requires(struct toml *toml, struct env_script *ret)
{
    px_auto_buffer struct px_buffer text = {0};
    if (*toml->at != '"' && *toml->at != '\'')
        return refuse("requires-python is not a text", toml->error);
    if (take_string(toml, &text) < 0)
        return -1;
    free(ret->requires);
    ret->requires = px_buffer_take(&text);
    return ret->requires ? 0 : px_error_oom(toml->error);
}

int env_script_read(const char *code, size_t length, struct env_script *ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    *ret = (struct env_script){0};
    if (!memmem(code, length, START, strlen(START)) || length < strlen(START))
        return 0;
    if (find_metadata(code, length, &text, error) < 0)
        return -1;
    if (memchr(px_buffer_shown(&text), 0, px_buffer_length(&text)))
        return refuse("it has a NUL byte", error);
    struct toml toml = {px_buffer_shown(&text), error};
    for (skip_space(&toml, true); *toml.at && *toml.at != '['; skip_space(&toml, true)) {
        px_auto_buffer struct px_buffer key = {0};
        if (take_key(&toml, &key) < 0)
            return -1;
        skip_space(&toml, false);
        const char *name = px_buffer_shown(&key);
        int status = strcmp(name, "dependencies") == 0      ? take_dependencies(&toml, ret)
                     : strcmp(name, "requires-python") == 0 ? take_requires(&toml, ret)
                                                            : skip_value(&toml, 0);
        if (status < 0)
            return -1;
        skip_space(&toml, false);
        if (*toml.at && *toml.at != '\n' && *toml.at != '\r')
            return refuse("there is something after a value", error);
    }
    return ret->dependencies.failed ? px_error_oom(error) : 0;
}
