/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/caret.h"

#include <string.h>

#include "base/utf8.h"
#include "guest/pyobject_access.h"

#define CARET_LINE_MAX 4096     /* bytes of the longest line that is shown whole, with marks below it */
#define SEGMENT_MAX (64u << 10) /* longest expression whose parts are marked */
#define SEGMENT_LINES_MAX 2000
#define STEPS_MAX 200000 /* instructions visited to find positions, for each traceback */

static struct {
    PyObject *compile, *name, *mode_eval, *mode_exec, *flags;
    PyObject *BinOp, *Subscript, *Call, *Return, *Assign, *Name;
} kept;

static long steps_left;

static int keep_class(PyObject *module, const char *name, PyObject **ret)
{
    *ret = PyObject_GetAttrString(module, name);
    return *ret ? 0 : -1;
}

int px_caret_prepare(void)
{
    px_auto_object PyObject *builtins = PyImport_ImportModule("builtins");
    px_auto_object PyObject *ast = PyImport_ImportModule("_ast");
    if (!builtins || !ast)
        return -1;
    kept.compile = PyObject_GetAttrString(builtins, "compile");
    kept.name = PyUnicode_InternFromString("<caret>");
    kept.flags = PyLong_FromLong(PX_COMPILE_ONLY_AST);
    if (!kept.compile || !kept.name || !kept.flags)
        return -1;
    return keep_class(ast, "BinOp", &kept.BinOp) < 0 || keep_class(ast, "Subscript", &kept.Subscript) < 0 ||
                   keep_class(ast, "Call", &kept.Call) < 0 || keep_class(ast, "Return", &kept.Return) < 0 ||
                   keep_class(ast, "Assign", &kept.Assign) < 0 || keep_class(ast, "Name", &kept.Name) < 0
               ? -1
               : 0;
}

void px_caret_begin(void)
{
    steps_left = STEPS_MAX;
}

/* A position: a line, counted from 0 at the first shown line, and a byte in it. */
struct caret_place {
    long line;
    size_t column;
};

static bool before(struct caret_place a, struct caret_place b)
{
    return a.line < b.line || (a.line == b.line && a.column < b.column);
}

/* The expression that failed, and its lines. */
struct caret_shape {
    struct px_source *sources;
    const char *filename;
    long first; /* line number of its first line in the file */
    long last;  /* its last line, counted from 0 */
    struct caret_place start, end;
    bool has_anchors;
    struct caret_place left, right; /* start and end of the operator or the brackets */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f' || c == '\v' || c == '\n' || c == '\r';
}

/* Returns a line without the spaces at its end; "" when there is no such line. */
static const char *line_at(const struct caret_shape *shape, long line, size_t *ret_length)
{
    size_t length = 0;
    const char *text = px_source_line(shape->sources, shape->filename, shape->first + line, &length);
    while (length && is_blank(text[length - 1]))
        length--;
    *ret_length = length;
    return text ? text : "";
}

static size_t leading(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && is_blank(text[i]))
        i++;
    return i;
}

/* ---- Positions ---- */

/* Returns item `index` of code.co_positions(), a tuple of four: a new reference, or NULL. */
static PyObject *position_at(PyObject *code, long index)
{
    px_auto_object PyObject *method = px_pyobject_attribute(code, px_name.co_positions);
    px_auto_object PyObject *positions = method ? PyObject_CallObject(method, NULL) : NULL;
    px_auto_object PyObject *iterator = positions ? PyObject_GetIter(positions) : NULL;
    PyObject *item = NULL;
    for (long i = 0; iterator && i <= index && steps_left > 0; i++, steps_left--) {
        Py_XDECREF(item);
        item = PyIter_Next(iterator);
        if (!item)
            break;
    }
    PyErr_Clear();
    if (item && steps_left > 0 && PyTuple_Check(item) && PyTuple_Size(item) == 4)
        return item;
    Py_XDECREF(item);
    return NULL;
}

static bool find_shape(struct caret_shape *shape, PyObject *code, PyObject *entry)
{
    long instruction, numbers[4];
    if (px_python.version < 0x030b || !px_pyobject_int(entry, px_name.tb_lasti, &instruction) || instruction < 0)
        return false;
    px_auto_object PyObject *position = position_at(code, instruction / 2);
    for (int i = 0; i < 4; i++) {
        PyObject *number = position ? PyTuple_GetItem(position, i) : NULL;
        if (!number || !PyLong_Check(number))
            return false;
        numbers[i] = PyLong_AsLong(number);
        if (numbers[i] < 0) {
            PyErr_Clear();
            return false;
        }
    }
    shape->first = numbers[0];
    shape->last = numbers[1] - numbers[0];
    shape->start = (struct caret_place){0, (size_t)numbers[2]};
    shape->end = (struct caret_place){shape->last, (size_t)numbers[3]};
    if (shape->last < 0 || shape->last > SEGMENT_LINES_MAX)
        return false;
    size_t total = 0, length;
    for (long i = 0; i <= shape->last && total <= SEGMENT_MAX; i++) {
        line_at(shape, i, &length);
        total += length;
    }
    line_at(shape, 0, &length);
    return total <= SEGMENT_MAX && shape->start.column < length && before(shape->start, shape->end);
}

/* ---- Anchors: the operator or the brackets ---- */

/* True for text with an unknown escape: parsing it would print a second warning to the script. */
static bool has_odd_escape(const char *text)
{
    for (; (text = strchr(text, '\\')); text += 2)
        if (!text[1] || !strchr("\\'\"abfnrtvx01234567NuU\n", text[1]))
            return true;
    return false;
}

static PyObject *parse(const char *text, PyObject *mode)
{
    if (has_odd_escape(text))
        return NULL;
    px_auto_object PyObject *source = PyUnicode_FromString(text);
    PyObject *tree =
        source ? PyObject_CallFunctionObjArgs(kept.compile, source, kept.name, mode, kept.flags, Py_True, NULL) : NULL;
    if (!tree)
        PyErr_Clear();
    return tree;
}

static bool is_a(PyObject *node, PyObject *class)
{
    return node && (PyObject *)Py_TYPE(node) == class;
}

/* Returns the part of a line that belongs to the expression. */
static const char *segment_line(const struct caret_shape *shape, long line, size_t *ret_start, size_t *ret_end)
{
    const char *text = line_at(shape, line, ret_end);
    *ret_start = line == 0 ? shape->start.column : 0;
    if (line == shape->last && shape->end.column < *ret_end)
        *ret_end = shape->end.column;
    return text;
}

static PyObject *parse_segment(const struct caret_shape *shape)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add_string(&text, "(\n");
    for (long i = 0; i <= shape->last; i++) {
        size_t start, end;
        const char *line = segment_line(shape, i, &start, &end);
        if (end > start)
            px_buffer_add(&text, line + start, end - start);
        px_buffer_add_byte(&text, '\n');
    }
    px_buffer_add_byte(&text, ')');
    px_auto_object PyObject *tree = px_buffer_ok(&text) ? parse(px_buffer_shown(&text), px_name.eval) : NULL;
    return tree ? px_pyobject_attribute(tree, px_name.body) : NULL;
}

/* Converts a position that the parser gave for "(\nSEGMENT\n)". */
static bool node_place(const struct caret_shape *shape, PyObject *node, PyObject *line_name, PyObject *column_name,
                       struct caret_place *ret)
{
    long line, column;
    if (!node || !px_pyobject_int(node, line_name, &line) || !px_pyobject_int(node, column_name, &column) || line < 2 ||
        line - 2 > shape->last || column < 0)
        return false;
    ret->line = line - 2;
    ret->column = (size_t)column + (ret->line == 0 ? shape->start.column : 0);
    return true;
}

/* Moves to the next wanted character, past comments and ends of lines. `wanted` 0: any character except spaces and
 * closing parentheses. */
static bool advance(const struct caret_shape *shape, struct caret_place *place, char wanted)
{
    while (place->line <= shape->last) {
        size_t start, end;
        const char *text = segment_line(shape, place->line, &start, &end);
        char c = place->column < end ? text[place->column] : '#';
        if (c == '\\' || c == '#')
            *place = (struct caret_place){place->line + 1, 0};
        else if (wanted ? c == wanted : !is_blank(c) && c != ')')
            return true;
        else
            place->column++;
    }
    return false;
}

static bool operator_anchors(struct caret_shape *shape, PyObject *node)
{
    px_auto_object PyObject *left = px_pyobject_attribute(node, px_name.left);
    px_auto_object PyObject *right = px_pyobject_attribute(node, px_name.right);
    struct caret_place operand;
    if (!node_place(shape, left, px_name.end_lineno, px_name.end_col_offset, &shape->left) ||
        !node_place(shape, right, px_name.lineno, px_name.col_offset, &operand) || !advance(shape, &shape->left, 0))
        return false;
    size_t start, end;
    const char *text = segment_line(shape, shape->left.line, &start, &end);
    shape->right = (struct caret_place){shape->left.line, shape->left.column + 1};
    char next = shape->right.column < end ? text[shape->right.column] : ' ';
    if (before(shape->right, operand) && !is_blank(next) && next != '\\' && next != '#')
        shape->right.column++;
    return true;
}

static bool bracket_anchors(struct caret_shape *shape, PyObject *node, PyObject *inner_name, char bracket)
{
    px_auto_object PyObject *inner = px_pyobject_attribute(node, inner_name);
    return node_place(shape, inner, px_name.end_lineno, px_name.end_col_offset, &shape->left) &&
           advance(shape, &shape->left, bracket) &&
           node_place(shape, node, px_name.end_lineno, px_name.end_col_offset, &shape->right);
}

static void find_anchors(struct caret_shape *shape)
{
    px_auto_object PyObject *node = parse_segment(shape);
    if (is_a(node, kept.BinOp))
        shape->has_anchors = operator_anchors(shape, node);
    else if (is_a(node, kept.Subscript))
        shape->has_anchors = bracket_anchors(shape, node, px_name.value, '[');
    else if (is_a(node, kept.Call) && px_python.version >= 0x030d)
        shape->has_anchors = bracket_anchors(shape, node, px_name.func, '(');
}

/* ---- Whether to mark ---- */

/* From 3.13 on, "return f(…)" and "name = f(…)" get no marks when the whole call failed. */
static bool is_plain_call(const struct caret_shape *shape, size_t dedent)
{
    px_auto_buffer struct px_buffer text = {0};
    for (long i = 0; i <= shape->last; i++) {
        size_t length;
        const char *line = line_at(shape, i, &length);
        if (length > dedent)
            px_buffer_add(&text, line + dedent, length - dedent);
        px_buffer_add_byte(&text, '\n');
    }
    px_auto_object PyObject *tree = px_buffer_ok(&text) ? parse(px_buffer_shown(&text), px_name.exec) : NULL;
    px_auto_object PyObject *body = tree ? px_pyobject_attribute(tree, px_name.body) : NULL;
    PyObject *statement = body && PyList_Size(body) > 0 ? PyList_GetItem(body, 0) : NULL;
    if (!is_a(statement, kept.Return) && !is_a(statement, kept.Assign))
        return false;
    px_auto_object PyObject *value = px_pyobject_attribute(statement, px_name.value);
    if (!is_a(value, kept.Call))
        return false;
    px_auto_object PyObject *func = px_pyobject_attribute(value, px_name.func);
    if (is_a(statement, kept.Return) && !is_a(func, kept.Name))
        return false;
    long line, end_line, column, end_column;
    return px_pyobject_int(value, px_name.lineno, &line) && px_pyobject_int(value, px_name.end_lineno, &end_line) &&
           px_pyobject_int(value, px_name.col_offset, &column) &&
           px_pyobject_int(value, px_name.end_col_offset, &end_column) && line == 1 && end_line == shape->last + 1 &&
           (size_t)column + dedent == shape->start.column && (size_t)end_column + dedent == shape->end.column;
}

static bool should_mark(const struct caret_shape *shape, size_t dedent)
{
    size_t length;
    const char *text = line_at(shape, 0, &length);
    bool partial = leading(text, length) < shape->start.column;
    line_at(shape, shape->last, &length);
    partial = partial || shape->end.column < length;
    if (!partial && !shape->has_anchors)
        return false;
    return px_python.version < 0x030d || !is_plain_call(shape, dedent);
}

/* ---- Drawing ---- */

/* Returns how many columns of a terminal a character takes: wide characters of East Asia take two. */
static int width_of(const char *text, size_t size)
{
    if (size < 3)
        return 1;
    const unsigned char *b = (const unsigned char *)text;
    unsigned c = size == 3 ? (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu)
                           : (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                   (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                   (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1F64F) || (c >= 0x1F900 && c <= 0x1F9FF) ||
                   (c >= 0x20000 && c <= 0x3FFFD)
               ? 2
               : 1;
}

static char mark_at(const struct caret_shape *shape, struct caret_place place, size_t lead)
{
    if (place.column < lead || before(place, shape->start))
        return ' ';
    if (!shape->has_anchors)
        return '^';
    return !before(place, shape->left) && before(place, shape->right) ? '^' : '~';
}

static void draw_line(struct px_buffer *to, const struct caret_shape *shape, long line, size_t dedent, bool marked)
{
    size_t length;
    const char *text = line_at(shape, line, &length);
    size_t lead = leading(text, length);
    size_t from = dedent < length ? dedent : length;
    px_buffer_add_string(to, "    ");
    px_buffer_add(to, text + from, length - from);
    px_buffer_add_byte(to, '\n');
    if (!marked)
        return;
    size_t end = line == shape->last && shape->end.column < length ? shape->end.column : length;
    px_buffer_add_string(to, "    ");
    while (from < end) {
        size_t size = px_utf8_sequence((const unsigned char *)text + from, length - from);
        char mark = mark_at(shape, (struct caret_place){line, from}, lead);
        for (int i = width_of(text + from, size); i > 0; i--)
            px_buffer_add_byte(to, mark);
        from += size ? size : 1;
    }
    px_buffer_add_byte(to, '\n');
}

/* Of many lines only the first, the last and those next to the anchors are shown. */
static bool is_significant(const struct caret_shape *shape, long line)
{
    if (line == 0 || line == shape->last)
        return true;
    return shape->has_anchors && ((line >= shape->left.line - 1 && line <= shape->left.line + 1) ||
                                  (line >= shape->right.line - 1 && line <= shape->right.line + 1));
}

static void draw(struct px_buffer *to, const struct caret_shape *shape, size_t dedent)
{
    bool marked = should_mark(shape, dedent);
    long previous = 0;
    for (long i = 0; i <= shape->last; i++) {
        if (!is_significant(shape, i))
            continue;
        if (i - previous == 2)
            draw_line(to, shape, i - 1, dedent, marked);
        else if (i - previous > 2)
            px_buffer_printf(to, "    ...<%ld lines>...\n", i - previous - 1);
        draw_line(to, shape, i, dedent, marked);
        previous = i;
    }
}

/* Returns the length of the indentation that all lines share. */
static size_t common_indent(const struct caret_shape *shape)
{
    size_t length, common;
    const char *first = line_at(shape, 0, &length);
    common = leading(first, length);
    for (long i = 1; i <= shape->last; i++) {
        const char *text = line_at(shape, i, &length);
        size_t same = 0;
        while (same < common && same < length && text[same] == first[same])
            same++;
        if (length)
            common = same;
    }
    return common;
}

void px_caret_add(struct px_buffer *to, PyObject *code, PyObject *entry, long line, const char *filename,
                  struct px_source *sources)
{
    struct caret_shape shape = {.sources = sources, .filename = filename, .first = line};
    size_t length;
    const char *text = line_at(&shape, 0, &length);
    size_t lead = leading(text, length);
    if (lead == length)
        return;
    if (length > CARET_LINE_MAX || !find_shape(&shape, code, entry)) {
        size_t shown = px_utf8_truncate(text + lead, length - lead, CARET_LINE_MAX);
        px_buffer_add_string(to, "    ");
        px_buffer_add(to, text + lead, shown);
        px_buffer_add_byte(to, '\n');
        return;
    }
    if (shape.last == 0 || px_python.version >= 0x030d) {
        find_anchors(&shape);
    } else {
        line_at(&shape, 0, &length);
        shape.last = 0;
        shape.end = (struct caret_place){0, length};
    }
    draw(to, &shape, common_indent(&shape));
}
