/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts the code before its last expression (last_statement.h), and compiles both parts from their text. Where the text
 * alone does not show the place, it is found in the syntax tree, which takes about twice as long. Both parts are then
 * compiled from the tree, so that the source is parsed once and warnings appear once. Sometimes the compiler can do more
 * with text than with a tree, and then the parts are compiled from their text:
 * - compile(tree) of 3.9 to 3.11 allows a third of the nesting that compile(text) allows;
 * - before 3.11 making the tree, and before 3.9 also reading it, can use up the C stack without a check. Code that
 * is long enough for that is first compiled as text, which does check. */
#include "guest/program.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/last_statement.h"
#include "guest/pyobject_access.h"

#define TOP_LEVEL_AWAIT 0x2000 /* PyCF_ALLOW_TOP_LEVEL_AWAIT, since 3.8 */
#define COROUTINE 0x80         /* CO_COROUTINE */
#define SAFE_LENGTH_38 8000    /* code of so many bytes has a tree that fits 8 MiB of stack */
#define SAFE_LENGTH_310 100000

static struct {
    PyObject *compile;
    PyObject *flags, *ast_flags; /* flags for compiling to code, and to a tree */
    PyObject *Expr, *Expression, *Constant;
    long future_mask; /* bits of co_flags for __future__ features */
    long futures;     /* the features that earlier cells of a session chose */
} kept;

void px_program_done(struct px_program *program)
{
    px_drop_object(&program->body);
    px_drop_object(&program->value);
}

static int collect_future_flags(void)
{
    px_auto_object PyObject *module = PyImport_ImportModule("__future__");
    px_auto_object PyObject *names = module ? PyObject_GetAttrString(module, "all_feature_names") : NULL;
    Py_ssize_t count = names ? PyList_Size(names) : -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        px_auto_object PyObject *feature = PyObject_GetAttr(module, PyList_GetItem(names, i));
        px_auto_object PyObject *flag = feature ? PyObject_GetAttrString(feature, "compiler_flag") : NULL;
        if (!flag)
            return -1;
        kept.future_mask |= PyLong_AsLong(flag);
    }
    /* Two features have other flags, CO_NESTED and 0, which compile() accepts too. */
    return count < 0 || PyErr_Occurred() ? -1 : 0;
}

/* Sets the compile flags for these __future__ features. */
static int set_futures(long futures)
{
    px_auto_object PyObject *flags = PyLong_FromLong(TOP_LEVEL_AWAIT | futures);
    px_auto_object PyObject *ast_flags = PyLong_FromLong(PX_COMPILE_ONLY_AST | TOP_LEVEL_AWAIT | futures);
    if (!flags || !ast_flags)
        return -1;
    px_drop_object(&kept.flags);
    px_drop_object(&kept.ast_flags);
    kept.flags = TAKE_PTR(flags);
    kept.ast_flags = TAKE_PTR(ast_flags);
    kept.futures = futures;
    return 0;
}

int px_program_prepare(void)
{
    px_auto_object PyObject *builtins = PyImport_ImportModule("builtins");
    px_auto_object PyObject *ast = PyImport_ImportModule("_ast");
    if (!builtins || !ast)
        return -1;
    kept.compile = PyObject_GetAttrString(builtins, "compile");
    kept.Expr = PyObject_GetAttrString(ast, "Expr");
    kept.Expression = PyObject_GetAttrString(ast, "Expression");
    kept.Constant = PyObject_GetAttrString(ast, "Constant");
    if (!kept.compile || !kept.Expr || !kept.Expression || !kept.Constant || set_futures(0) < 0)
        return -1;
    return collect_future_flags();
}

/* The code that is being compiled, and where the result goes. */
struct task {
    PyObject *text, *filename;
    struct px_source *source;
    struct px_program *ret;
};

static PyObject *compile_as(const struct task *task, PyObject *what, PyObject *mode, PyObject *flags)
{
    return PyObject_CallFunctionObjArgs(kept.compile, what, task->filename, mode, flags, Py_True, NULL);
}

static bool too_deep(void)
{
    return PyErr_ExceptionMatches(PyExc_RecursionError) || PyErr_ExceptionMatches(PyExc_MemoryError);
}

static int compile_whole(const struct task *task)
{
    px_program_done(task->ret);
    task->ret->body = compile_as(task, task->text, px_name.exec, kept.flags);
    return task->ret->body ? 0 : -1;
}

static long futures_of(const struct px_program *program)
{
    long flags = 0;
    return program->body && px_pyobject_int(program->body, px_name.co_flags, &flags) ? flags & kept.future_mask : 0;
}

/* The statements' __future__ features also hold for the last expression. */
static PyObject *value_flags(const struct px_program *program)
{
    return PyLong_FromLong(TOP_LEVEL_AWAIT | kept.futures | futures_of(program));
}

/* ---- From text ---- */

static bool place_of(const struct task *task, PyObject *node, PyObject *line_name, PyObject *column_name,
                     long *ret_line, size_t *ret_offset)
{
    long column;
    size_t length;
    if (!px_pyobject_int(node, line_name, ret_line) || !px_pyobject_int(node, column_name, &column))
        return false;
    const char *line = px_source_line(task->source, task->source->filename, *ret_line, &length);
    if (!line || column < 0 || (size_t)column > length)
        return false;
    *ret_offset = (size_t)(line - task->source->code) + (size_t)column;
    return true;
}

static size_t lines_before(const char *code, size_t end)
{
    size_t lines = 0;
    for (size_t i = 0; i < end; i++)
        lines += code[i] == '\n' || (code[i] == '\r' && !(i + 1 < end && code[i + 1] == '\n'));
    return lines;
}

/* Compiles the expression from its text. Empty lines before it keep the line numbers right. */
static int compile_value_text(const struct task *task, size_t start, size_t end)
{
    const char *code = task->source->code;
    size_t shift = lines_before(code, start);
    px_auto_free char *text = malloc(shift + end - start + 1);
    if (!text) {
        PyErr_NoMemory();
        return -1;
    }
    memset(text, '\n', shift);
    memcpy(text + shift, code + start, end - start);
    px_auto_object PyObject *after = PyUnicode_DecodeUTF8(text, (Py_ssize_t)(shift + end - start), NULL);
    px_auto_object PyObject *flags = after ? value_flags(task->ret) : NULL;
    task->ret->value = flags ? compile_as(task, after, px_name.eval, flags) : NULL;
    return task->ret->value ? 0 : -1;
}

static int compile_body_text(const struct task *task, size_t end)
{
    px_auto_object PyObject *before = PyUnicode_DecodeUTF8(task->source->code, (Py_ssize_t)end, NULL);
    task->ret->body = before ? compile_as(task, before, px_name.exec, kept.flags) : NULL;
    return task->ret->body ? 0 : -1;
}

/* Cuts the two parts, whose places are known from the tree, out of the source. Column numbers in the value's first line
 * are wrong. */
static int compile_cut(const struct task *task, PyObject *statement)
{
    long line, end_line;
    size_t start, end;
    if (!place_of(task, statement, px_name.lineno, px_name.col_offset, &line, &start) ||
        !place_of(task, statement, px_name.end_lineno, px_name.end_col_offset, &end_line, &end) || end < start)
        return compile_whole(task);
    return compile_body_text(task, start) < 0 ? -1 : compile_value_text(task, start, end);
}

/* True if the exception is a syntax error that does not depend on the text from `end` on. An error in the line before
 * can: a block or a decorator may end there. Then the tree decides, and a warning about the lines up to the error appears
 * a second time. */
static bool is_final(const struct task *task, size_t end)
{
    if (!PyErr_ExceptionMatches(PyExc_SyntaxError))
        return !too_deep();
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    long line = 0;
    bool early = px_pyobject_int(value, px_name.lineno, &line) && line >= 0 &&
                 (size_t)line < lines_before(task->source->code, end);
    PyErr_Restore(type, value, traceback);
    return early;
}

/* Compiles what the text shows of its last statement. Returns 1, or 0 if only the tree can tell, or -1. */
static int compile_shown(const struct task *task)
{
    size_t start = 0;
    enum px_last_statement last =
        px_last_statement_find(task->source->code, task->source->length, px_python.version >= 0x030c, &start);
    if (last == PX_LAST_NO_VALUE)
        return compile_whole(task) < 0 ? -1 : 1;
    /* A feature of the first part would also be one of the second. */
    if (last == PX_LAST_UNKNOWN || memmem(task->source->code, start, "__future__", strlen("__future__")))
        return 0;
    /* The value is first: if it can't be compiled, no warning of the first part has appeared yet. */
    bool value = compile_value_text(task, start, task->source->length) == 0;
    if (value && (last == PX_LAST_ALONE || compile_body_text(task, start) == 0))
        return 1;
    px_program_done(task->ret);
    if (is_final(task, value ? start : 0))
        return -1;
    PyErr_Clear();
    return 0;
}

/* ---- From the tree ---- */

static int compile_value(const struct task *task, PyObject *expression)
{
    px_auto_object PyObject *root = PyObject_CallFunctionObjArgs(kept.Expression, expression, NULL);
    px_auto_object PyObject *flags = root ? value_flags(task->ret) : NULL;
    task->ret->value = flags ? compile_as(task, root, px_name.eval, flags) : NULL;
    return task->ret->value ? 0 : -1;
}

/* A string that is the only statement is both the module's docstring and its value. */
static bool is_docstring(PyObject *body, PyObject *expression)
{
    if (PyList_Size(body) != 1 || (PyObject *)Py_TYPE(expression) != kept.Constant)
        return false;
    px_auto_object PyObject *value = px_pyobject_attribute(expression, px_name.value);
    return value && PyUnicode_Check(value);
}

static int compile_split(const struct task *task, PyObject *tree, PyObject *body, PyObject *statement)
{
    Py_ssize_t count = PyList_Size(body);
    px_auto_object PyObject *expression = px_pyobject_attribute(statement, px_name.value);
    if (!expression)
        return compile_whole(task);
    bool docstring = is_docstring(body, expression);
    if (!docstring) {
        if (PyList_SetSlice(body, count - 1, count, NULL) < 0)
            return -1;
        count--;
    }
    if (count > 0 && !(task->ret->body = compile_as(task, tree, px_name.exec, kept.flags))) {
        /* 3.13 refuses a docstring that isn't UTF-8, but it still is a value. */
        if (!docstring || too_deep())
            return -1;
        PyErr_Clear();
    }
    return compile_value(task, expression);
}

/* True if a semicolon follows the statement. It hides the value, as in notebooks. */
static bool ends_with_semicolon(const struct task *task, PyObject *statement)
{
    long line;
    size_t end;
    const char *code = task->source->code;
    if (!memchr(code, ';', task->source->length) ||
        !place_of(task, statement, px_name.end_lineno, px_name.end_col_offset, &line, &end))
        return false;
    while (end < task->source->length && strchr(" \t\f\\\r\n", code[end]))
        end++;
    return end < task->source->length && code[end] == ';';
}

static int compile_tree(const struct task *task, PyObject *tree)
{
    px_auto_object PyObject *body = px_pyobject_attribute(tree, px_name.body);
    Py_ssize_t count = body && PyList_Check(body) ? PyList_Size(body) : 0;
    px_auto_object PyObject *statement = count ? PyList_GetItem(body, count - 1) : NULL;
    Py_XINCREF(statement);
    bool has_value = statement && (PyObject *)Py_TYPE(statement) == kept.Expr && !ends_with_semicolon(task, statement);
    int failed;
    if (has_value) {
        failed = compile_split(task, tree, body, statement);
    } else {
        task->ret->body = compile_as(task, tree, px_name.exec, kept.flags);
        failed = task->ret->body ? 0 : -1;
    }
    if (!failed || !too_deep())
        return failed;
    PyErr_Clear();
    px_program_done(task->ret);
    return has_value ? compile_cut(task, statement) : compile_whole(task);
}

/* True if the code's tree could use up the C stack in a Python version that does not check. */
static bool needs_check(const struct px_source *source)
{
    return source->length > SAFE_LENGTH_310  ? px_python.version < 0x030b
           : source->length > SAFE_LENGTH_38 ? px_python.version < 0x0309
                                             : false;
}

static int compile_program(const struct task *task, bool split)
{
    if (!split)
        return compile_whole(task);
    int shown = compile_shown(task);
    if (shown != 0)
        return shown < 0 ? -1 : 0;
    if (needs_check(task->source) && compile_whole(task) < 0)
        return -1;
    px_auto_object PyObject *tree = compile_as(task, task->text, px_name.exec, kept.ast_flags);
    px_program_done(task->ret);
    if (tree)
        return compile_tree(task, tree);
    if (!too_deep())
        return -1;
    PyErr_Clear();
    return compile_whole(task);
}

int px_program_compile(struct px_program *ret, struct px_source *source, bool split, bool keep_futures)
{
    px_auto_object PyObject *text = PyUnicode_DecodeUTF8(source->code, (Py_ssize_t)source->length, NULL);
    px_auto_object PyObject *filename = PyUnicode_InternFromString(source->filename);
    if (!text || !filename)
        return -1;
    struct task task = {.text = text, .filename = filename, .source = source, .ret = ret};
    if (compile_program(&task, split) < 0)
        return -1;
    long futures = keep_futures ? kept.futures | futures_of(ret) : kept.futures;
    return futures == kept.futures ? 0 : set_futures(futures);
}

bool px_program_is_coroutine(PyObject *code)
{
    long flags = 0;
    return px_pyobject_int(code, px_name.co_flags, &flags) && (flags & COROUTINE);
}
