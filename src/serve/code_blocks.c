/* SPDX-License-Identifier: Apache-2.0 */
/* All of it reads the text once from its start to its end, because the text may have megabytes. */
#include "serve/code_blocks.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#define LINE_SPACES " \t\r\f\v" /* within a line */
#define SPACES LINE_SPACES "\n"
#define FENCE "```"

struct piece {
    const char *text;
    size_t length;
};

/* ---- Fences ---- */

static bool is_python(struct piece mark)
{
    static const char *const names[] = {"python", "Python", "py", "Python3", "python3", "PY"};
    while (mark.length && strchr(SPACES, mark.text[mark.length - 1]))
        mark.length--;
    while (mark.length && strchr(SPACES, *mark.text)) {
        mark.text++;
        mark.length--;
    }
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (strlen(names[i]) == mark.length && memcmp(names[i], mark.text, mark.length) == 0)
            return true;
    return false;
}

/* Finds the next fence that opens, and the text after its line. */
static bool find_open(const char *from, struct piece *ret_mark, const char **ret_code)
{
    const char *fence = strstr(from, FENCE), *line_end = fence ? strchr(fence, '\n') : NULL;
    if (!line_end)
        return false;
    *ret_mark = (struct piece){fence + 3, (size_t)(line_end - fence - 3)};
    *ret_code = line_end + 1;
    return true;
}

/* Finds the line end that ends the code: white space and a fence come after it. */
static bool find_close(const char *code, const char **ret_end, const char **ret_after)
{
    const char *end = strchr(code, '\n');
    while (end) {
        const char *next = end + strspn(end, SPACES);
        if (strncmp(next, FENCE, 3) == 0) {
            *ret_end = end;
            *ret_after = next + 3;
            return true;
        }
        end = strchr(next, '\n');
    }
    return false;
}

static bool find_fenced(const char *text, struct piece *ret)
{
    struct piece mark;
    const char *code, *end;
    bool found = false;
    while (find_open(text, &mark, &code) && find_close(code, &end, &text)) {
        if (found && !is_python(mark))
            continue;
        *ret = (struct piece){code, (size_t)(end - code)};
        found = true;
        if (is_python(mark))
            break;
    }
    return found;
}

/* ---- Code without fences ---- */

static struct piece next_line(const char **text)
{
    struct piece line = {*text, strcspn(*text, "\n")};
    *text += line.length;
    if (**text)
        (*text)++;
    return line;
}

static bool is_empty(struct piece line)
{
    return strspn(line.text, LINE_SPACES) >= line.length;
}

static bool begins_with(struct piece line, const char *start)
{
    return line.length > strlen(start) && strncmp(line.text, start, strlen(start)) == 0;
}

static bool is_inside(struct piece line)
{
    return *line.text && strchr(LINE_SPACES, *line.text);
}

static void add_line(struct px_buffer *out, struct piece line)
{
    px_buffer_add(out, line.text, line.length);
    px_buffer_add_byte(out, '\n');
}

static void add_definition(struct px_buffer *out, const char *text)
{
    px_auto_buffer struct px_buffer found = {0};
    bool opened = false, has_body = false; /* the last line of `found` is in a function or class; in its body */
    while (*text) {
        struct piece line = next_line(&text);
        bool opens = begins_with(line, "def ") || begins_with(line, "class ");
        bool before = begins_with(line, "import") || begins_with(line, "from") || begins_with(line, "#");
        if (is_empty(line))
            continue;
        if (has_body && !is_inside(line))
            break;
        has_body = opened && is_inside(line);
        if (!has_body && (opened || !(opens || before)))
            px_buffer_consume(&found, found.length);
        if (has_body || opens || before)
            add_line(&found, line);
        opened = has_body || opens;
    }
    if (has_body)
        px_buffer_add(out, found.data, found.length);
    out->failed |= found.failed;
}

void px_code_of_answer(struct px_buffer *out, const char *text)
{
    struct piece found, mark;
    if (find_fenced(text, &found))
        px_buffer_add(out, found.text, found.length);
    else if (find_open(text, &mark, &found.text))
        px_buffer_add_string(out, found.text);
    else
        add_definition(out, text);
}
