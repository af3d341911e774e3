/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/syntax.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/traceback.h"

#define LINE_LIMIT 4096
#define MESSAGE_LIMIT (64u << 10)

/* The exception counts characters from 1; 0 or less means unknown. */
struct syntax_place {
    long line, end_line, offset, end_offset;
};

static long count_characters(const char *text, size_t length)
{
    long count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* Draws carets from character `start` to character `end` of the text, counted from 0. Tabs before them stay tabs,
 * so that the carets stand below their characters. */
static void add_carets(struct px_buffer *to, const char *text, long start, long end)
{
    px_buffer_add_string(to, "    ");
    for (long i = 0; i < start && *text; i++) {
        px_buffer_add_byte(to, *text == '\t' && px_python.version >= 0x030a ? '\t' : ' ');
        text++;
        while (((unsigned char)*text & 0xC0) == 0x80)
            text++;
    }
    for (long i = start; i < end && i < start + LINE_LIMIT; i++)
        px_buffer_add_byte(to, '^');
    px_buffer_add_byte(to, '\n');
}

/* Before 3.13, if the text has several lines, only the line that `offset` is in is shown. */
static const char *last_line(const char *text, struct syntax_place *place)
{
    const char *newline;
    while (px_python.version < 0x030d && (newline = strchr(text, '\n'))) {
        long length = count_characters(text, (size_t)(newline - text)) + 1;
        if (length > place->offset - 1)
            break;
        place->offset -= length;
        place->end_offset -= length;
        text = newline + 1;
    }
    return text;
}

/* Returns where the carets end when the offset is inside the text, by the rule of traceback.py. */
static long caret_end(const struct syntax_place *place, long whole, long stripped)
{
    long end = place->line != place->end_line ? stripped + 1 : place->end_offset;
    if (end > whole)
        end = stripped + 1;
    return px_python.version < 0x030a || place->offset >= end ? place->offset + 1 : end;
}

/* `text` is the line of source that the exception has. */
static void add_text(struct px_buffer *to, const char *text, struct syntax_place place)
{
    const char *blanks = px_python.version >= 0x030d ? " \n\f" : " \t\f";
    if (place.offset > 1)
        text = last_line(text, &place);
    long whole = count_characters(text, strlen(text));
    size_t length = strlen(text);
    while (length && text[length - 1] == '\n')
        length--;
    size_t lead = strspn(text, blanks);
    if (lead > length)
        lead = length;
    px_buffer_printf(to, "    %.*s\n", (int)(length - lead), text + lead);
    if (place.offset < 1)
        return;
    long stripped = count_characters(text, length);
    if (px_python.version < 0x0309) { /* in 3.8 the caret never stands after the end of the text */
        if (place.offset == whole && whole > stripped)
            place.offset--;
        if (place.offset <= (long)lead)
            place.offset = (long)lead + 1;
    }
    if (place.offset > whole)
        place.offset = stripped + 1;
    long start = place.offset - 1 - (long)lead;
    if (start >= 0)
        add_carets(to, text + lead, start, caret_end(&place, whole, stripped) - 1 - (long)lead);
}

static void read_place(PyObject *exception, struct syntax_place *place)
{
    if (!px_pyobject_int(exception, px_name.offset, &place->offset))
        place->offset = 0;
    if (!px_pyobject_int(exception, px_name.end_lineno, &place->end_line))
        place->end_line = px_python.version >= 0x030d ? -1 : place->line;
    if (!px_pyobject_int(exception, px_name.end_offset, &place->end_offset))
        place->end_offset = 0;
}

bool px_syntax_add(struct px_buffer *to, PyObject *exception, struct px_source *sources)
{
    struct syntax_place place;
    if (!PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError) ||
        !px_pyobject_int(exception, px_name.lineno, &place.line))
        return false;
    px_auto_buffer struct px_buffer filename = {0}, text = {0}, message = {0};
    if (!px_pyobject_text_attribute(&filename, exception, px_name.filename, LINE_LIMIT))
        px_buffer_add_string(&filename, "<string>");
    px_buffer_printf(to, "  File \"%s\", line %ld\n", px_buffer_shown(&filename), place.line);
    read_place(exception, &place);
    if (!px_pyobject_text_attribute(&text, exception, px_name.text, LINE_LIMIT)) {
        /* The compiler found this error after parsing. Python would then read the line from the file, but this
         * code is only in memory. */
        size_t length = 0;
        const char *line = px_source_line(sources, px_buffer_shown(&filename), place.line, &length);
        if (line)
            px_buffer_add(&text, line, px_utf8_truncate(line, length, LINE_LIMIT));
    }
    if (px_buffer_length(&text))
        add_text(to, px_buffer_shown(&text), place);
    px_pyobject_text_attribute(&message, exception, px_name.msg, MESSAGE_LIMIT);
    px_traceback_type(to, (PyObject *)Py_TYPE(exception), true);
    px_buffer_printf(to, ": %s\n", px_buffer_length(&message) ? px_buffer_shown(&message) : "<no detail available>");
    return true;
}

/* Returns the character at this index of the line, counted from 0; or 0. */
static Py_UCS4 character_at(struct px_source *sources, const char *filename, long number, long index,
                            bool *ret_printable)
{
    size_t length = 0;
    const char *line = px_source_line(sources, filename, number, &length);
    px_auto_object PyObject *text = line ? PyUnicode_DecodeUTF8(line, (Py_ssize_t)length, "replace") : NULL;
    px_auto_object PyObject *one = text ? PyUnicode_Substring(text, index, index + 1) : NULL;
    px_auto_object PyObject *printable = one ? PyObject_CallMethod(one, "isprintable", NULL) : NULL;
    *ret_printable = printable != Py_False;
    return printable && PyUnicode_GetLength(one) == 1 ? PyUnicode_ReadChar(one, 0) : 0;
}

void px_syntax_name_character(PyObject *exception, struct px_source *sources)
{
    long line, offset;
    bool printable;
    px_auto_buffer struct px_buffer message = {0}, filename = {0};
    if (!PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError) ||
        !px_pyobject_text_attribute(&message, exception, px_name.msg, LINE_LIMIT) ||
        strncmp(px_buffer_shown(&message), "invalid ", 8) != 0 || !strstr(px_buffer_shown(&message), " literal") ||
        !px_pyobject_text_attribute(&filename, exception, px_name.filename, LINE_LIMIT) ||
        !px_pyobject_int(exception, px_name.lineno, &line) || !px_pyobject_int(exception, px_name.offset, &offset))
        return;
    Py_UCS4 character = character_at(sources, px_buffer_shown(&filename), line, offset, &printable);
    if (character >= 0x80 && !printable) {
        char text[64];
        snprintf(text, sizeof text, "invalid non-printable character U+%04X", (unsigned)character);
        px_auto_object PyObject *better = PyUnicode_FromString(text);
        px_auto_object PyObject *place = PyLong_FromLong(offset + 1);
        if (better && place && PyObject_SetAttr(exception, px_name.msg, better) == 0)
            PyObject_SetAttr(exception, px_name.offset, place);
    }
    PyErr_Clear();
}
