/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/suggest.h"

#include <string.h>

#include "base/cleanup.h"
#include "guest/pyobject_access.h"
#include "guest/signals.h"

/* the limits of Python/suggestions.c */
#define CANDIDATES_MAX 750
#define NAME_LIMIT 40
#define MOVE_COST 2
#define CASE_COST 1

#define COLUMNS_MAX 30

static PyObject *stdlib_names; /* NULL before 3.10 */

int px_suggest_prepare(void)
{
    stdlib_names = PySys_GetObject("stdlib_module_names");
    Py_XINCREF(stdlib_names);
    return 0;
}

struct name {
    Py_UCS4 letters[NAME_LIMIT];
    size_t length;
};

static bool read_name(PyObject *string, struct name *ret)
{
    if (!PyUnicode_Check(string))
        return false;
    Py_ssize_t length = PyUnicode_GetLength(string);
    if (length <= 0 || length > NAME_LIMIT)
        return false;
    for (Py_ssize_t i = 0; i < length; i++)
        ret->letters[i] = PyUnicode_ReadChar(string, i);
    ret->length = (size_t)length;
    return true;
}

static Py_UCS4 lower(Py_UCS4 letter)
{
    return letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter;
}

static size_t substitution_cost(Py_UCS4 a, Py_UCS4 b)
{
    if (a == b)
        return 0;
    return lower(a) == lower(b) ? CASE_COST : MOVE_COST;
}

/* Levenshtein distance, computed one row at a time. */
static size_t distance_of(const struct name *a, const struct name *b)
{
    size_t row[NAME_LIMIT + 1];
    for (size_t i = 0; i <= a->length; i++)
        row[i] = i * MOVE_COST;
    for (size_t j = 0; j < b->length; j++) {
        size_t diagonal = row[0];
        row[0] = (j + 1) * MOVE_COST;
        for (size_t i = 0; i < a->length; i++) {
            size_t best = diagonal + substitution_cost(a->letters[i], b->letters[j]);
            size_t move = (row[i] < row[i + 1] ? row[i] : row[i + 1]) + MOVE_COST;
            diagonal = row[i + 1];
            row[i + 1] = best < move ? best : move;
        }
    }
    return row[a->length];
}

static bool take_name(const char *text, struct name *ret)
{
    ret->length = strlen(text);
    if (ret->length == 0 || ret->length > NAME_LIMIT)
        return false;
    for (size_t i = 0; i < ret->length; i++)
        ret->letters[i] = (unsigned char)text[i];
    return true;
}

/* Up to a third of the letters may differ. */
static size_t limit_of(const struct name *a, const struct name *b)
{
    return (a->length + b->length + 3) * MOVE_COST / 6;
}

size_t px_suggest_distance(const char *wanted, const char *name)
{
    struct name wrong, candidate;
    if (!take_name(wanted, &wrong) || !take_name(name, &candidate))
        return SIZE_MAX;
    size_t distance = distance_of(&wrong, &candidate);
    return distance <= limit_of(&wrong, &candidate) ? distance : SIZE_MAX;
}

struct search {
    struct name wrong;
    PyObject *best; /* owned reference */
    size_t best_distance;
    bool hide_underscored;
};

static void consider(struct search *search, PyObject *candidate)
{
    struct name name;
    if (!read_name(candidate, &name) || (search->hide_underscored && name.letters[0] == '_'))
        return;
    size_t distance = distance_of(&search->wrong, &name);
    if (distance == 0 || distance > limit_of(&search->wrong, &name) || distance >= search->best_distance)
        return;
    px_drop_object(&search->best);
    Py_INCREF(candidate);
    search->best = candidate;
    search->best_distance = distance;
}

static void consider_all(struct search *search, PyObject *names)
{
    PyObject *list = names ? PySequence_List(names) : NULL;
    if (!list) {
        PyErr_Clear();
        return;
    }
    Py_ssize_t count = PyList_Size(list);
    for (Py_ssize_t i = 0; count <= CANDIDATES_MAX && i < count; i++)
        consider(search, PyList_GetItem(list, i));
    Py_DECREF(list);
}

static PyObject *innermost_frame(PyObject *exception)
{
    PyObject *entry = PyException_GetTraceback(exception);
    while (entry) {
        PyObject *next = px_pyobject_attribute(entry, px_name.tb_next);
        if (!next || next == Py_None) {
            Py_XDECREF(next);
            break;
        }
        Py_DECREF(entry);
        entry = next;
    }
    PyObject *frame = entry ? px_pyobject_attribute(entry, px_name.tb_frame) : NULL;
    Py_XDECREF(entry);
    return frame;
}

static PyObject *frame_self(PyObject *frame)
{
    px_auto_object PyObject *locals = px_pyobject_attribute(frame, px_name.f_locals);
    PyObject *self = locals ? PyObject_GetItem(locals, px_name.self) : NULL;
    if (!self)
        PyErr_Clear();
    return self;
}

/* True if `wrong` is an attribute of the method's own instance. Python suggests that from 3.12 on. */
static bool is_of_self(PyObject *frame, PyObject *wrong)
{
    px_auto_object PyObject *self = px_python.version >= 0x030c ? frame_self(frame) : NULL;
    px_auto_object PyObject *value = self ? px_pyobject_attribute(self, wrong) : NULL;
    return value != NULL;
}

static void search_frame(struct search *search, PyObject *frame)
{
    PyObject *const spaces[] = {px_name.f_locals, px_name.f_globals, px_name.f_builtins};
    for (size_t i = 0; i < PX_COUNT(spaces); i++) {
        px_auto_object PyObject *space = px_pyobject_attribute(frame, spaces[i]);
        consider_all(search, space);
        if (search->best && px_python.version < 0x030d)
            return;
    }
}

static void search_object(struct search *search, PyObject *object, PyObject *frame)
{
    if (px_python.version >= 0x030d && search->wrong.letters[0] != '_') {
        px_auto_object PyObject *self = frame ? frame_self(frame) : NULL;
        search->hide_underscored = self != object;
    }
    px_auto_object PyObject *names = PyObject_Dir(object);
    consider_all(search, names);
}

static void search_module(struct search *search, PyObject *exception)
{
    px_auto_object PyObject *name = px_pyobject_attribute(exception, px_name.name);
    px_auto_object PyObject *module = name && PyUnicode_Check(name) ? PyImport_GetModule(name) : NULL;
    search->hide_underscored = px_python.version >= 0x030d && search->wrong.letters[0] != '_';
    px_auto_object PyObject *names = module ? PyObject_Dir(module) : NULL;
    consider_all(search, names);
}

/* Returns a name that only the message has: "name 'x' is not defined" (before 3.10), "cannot import name 'x'"
 * (before 3.12). */
static PyObject *name_in_message(PyObject *exception, const char *beginning)
{
    px_auto_object PyObject *args = px_pyobject_attribute(exception, px_name.args);
    PyObject *first = args && PyTuple_Check(args) && PyTuple_Size(args) ? PyTuple_GetItem(args, 0) : NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (!first || !PyUnicode_Check(first) || !px_pyobject_text(&text, first, 256) ||
        strncmp(px_buffer_shown(&text), beginning, strlen(beginning)) != 0)
        return NULL;
    const char *start = strchr(px_buffer_shown(&text), '\'');
    const char *end = start ? strchr(start + 1, '\'') : NULL;
    return end ? PyUnicode_DecodeUTF8(start + 1, end - start - 1, "replace") : NULL;
}

static PyObject *wrong_name(PyObject *exception)
{
    bool import = PyErr_GivenExceptionMatches(exception, PyExc_ImportError);
    PyObject *name = px_pyobject_attribute(exception, import ? px_name.name_from : px_name.name);
    if (!name && import && px_python.version < 0x030c)
        name = name_in_message(exception, "cannot import name '");
    if (!name && PyErr_GivenExceptionMatches(exception, PyExc_NameError))
        name = name_in_message(exception, "");
    return name;
}

static void add_sentences(struct px_buffer *to, PyObject *exception, PyObject *wrong, PyObject *best,
                          const char *prefix, bool as_printed)
{
    if (best) {
        px_buffer_printf(to, "Did you mean: '%s", prefix);
        px_pyobject_text(to, best, 256);
        px_buffer_add_string(to, "'?");
    }
    if (!PyErr_GivenExceptionMatches(exception, PyExc_NameError) || !stdlib_names ||
        (as_printed && px_python.version < 0x030c))
        return;
    int is_module = PySet_Contains(stdlib_names, wrong);
    if (is_module < 0)
        PyErr_Clear();
    if (is_module != 1)
        return;
    px_buffer_add_string(to, best ? " Or did you" : "Did you");
    px_buffer_add_string(to, " forget to import '");
    px_pyobject_text(to, wrong, 256);
    px_buffer_add_string(to, "'?");
}

static void suggest(struct px_buffer *to, PyObject *exception, PyObject *wrong, bool as_printed)
{
    struct search search = {.best_distance = SIZE_MAX};
    px_auto_object PyObject *frame = innermost_frame(exception);
    const char *prefix = "";
    if (!read_name(wrong, &search.wrong))
        return;
    search.best_distance = search.wrong.length * MOVE_COST;
    if (PyErr_GivenExceptionMatches(exception, PyExc_ImportError)) {
        search_module(&search, exception);
    } else if (PyErr_GivenExceptionMatches(exception, PyExc_NameError)) {
        if (frame && is_of_self(frame, wrong)) {
            Py_INCREF(wrong);
            search.best = wrong;
            prefix = "self.";
        } else if (frame) {
            search_frame(&search, frame);
        }
    } else {
        px_auto_object PyObject *object = px_pyobject_attribute(exception, px_name.obj);
        if (object)
            search_object(&search, object, frame);
        PyErr_Clear();
    }
    add_sentences(to, exception, wrong, search.best, prefix, as_printed);
    px_drop_object(&search.best);
}

/* ---- Columns of pandas' tables ---- */

/* Returns the column that a KeyError of pandas calls missing: 'a', ['a'], or a text that quotes it. */
static PyObject *wrong_column(PyObject *exception)
{
    PyObject *quoted = name_in_message(exception, "None of [");
    if (!quoted)
        quoted = name_in_message(exception, "['");
    if (quoted)
        return quoted;
    px_auto_object PyObject *args = px_pyobject_attribute(exception, px_name.args);
    PyObject *first = args && PyTuple_Check(args) && PyTuple_Size(args) ? PyTuple_GetItem(args, 0) : NULL;
    if (first && PyList_Check(first) && PyList_Size(first))
        first = PyList_GetItem(first, 0);
    Py_XINCREF(first);
    return first;
}

/* Returns the columns of the DataFrame that this frame of pandas works on. */
static PyObject *columns_of_frame(PyObject *frame)
{
    PyObject *const names[] = {px_name.self, px_name.obj};
    px_auto_object PyObject *code = px_pyobject_attribute(frame, px_name.f_code);
    px_auto_object PyObject *file = code ? px_pyobject_attribute(code, px_name.co_filename) : NULL;
    px_auto_object PyObject *function = code ? px_pyobject_attribute(code, px_name.co_name) : NULL;
    px_auto_buffer struct px_buffer path = {0};
    /* xs() looks for a row, not for a column. */
    if (!function || PyUnicode_CompareWithASCIIString(function, "xs") == 0 || !file || !PyUnicode_Check(file) ||
        !px_pyobject_text(&path, file, 4096) || !strstr(px_buffer_shown(&path), "/pandas/"))
        return NULL;
    px_auto_object PyObject *locals = px_pyobject_attribute(frame, px_name.f_locals);
    for (size_t i = 0; locals && i < PX_COUNT(names); i++) {
        px_auto_object PyObject *object = PyObject_GetItem(locals, names[i]);
        px_auto_object PyObject *type =
            object ? px_pyobject_attribute((PyObject *)Py_TYPE(object), px_name.__name__) : NULL;
        PyErr_Clear();
        if (type && PyUnicode_CompareWithASCIIString(type, "DataFrame") == 0)
            return PyObject_GetAttrString(object, "columns");
    }
    return NULL;
}

/* Returns the columns from the innermost frame that has a DataFrame. */
static PyObject *find_columns(PyObject *exception)
{
    PyObject *found = NULL, *entry = PyException_GetTraceback(exception);
    while (entry && entry != Py_None) {
        px_auto_object PyObject *frame = px_pyobject_attribute(entry, px_name.tb_frame);
        PyObject *columns = frame ? columns_of_frame(frame) : NULL;
        PyErr_Clear();
        if (columns) {
            Py_XDECREF(found);
            found = columns;
        }
        PyObject *next = px_pyobject_attribute(entry, px_name.tb_next);
        Py_DECREF(entry);
        entry = next;
    }
    Py_XDECREF(entry);
    return found;
}

static void list_columns(struct px_buffer *to, PyObject *columns)
{
    px_auto_object PyObject *list = PySequence_List(columns);
    Py_ssize_t count = list ? PyList_Size(list) : 0;
    px_buffer_add_string(to, to->length ? " The columns are: " : "The columns are: ");
    for (Py_ssize_t i = 0; i < count; i++) {
        px_auto_object PyObject *name = px_pyobject_convert(PyList_GetItem(list, i), PyObject_Repr);
        if (i == COLUMNS_MAX || !name) {
            px_buffer_add_string(to, "\u2026");
            return;
        }
        px_pyobject_text(to, name, NAME_LIMIT);
        px_buffer_add_string(to, i + 1 < count ? ", " : ".");
    }
}

static void suggest_column(struct px_buffer *to, PyObject *exception)
{
    px_auto_object PyObject *columns = find_columns(exception);
    px_auto_object PyObject *wrong = columns ? wrong_column(exception) : NULL;
    struct search search = {.best_distance = SIZE_MAX};
    if (!columns)
        return;
    if (wrong && read_name(wrong, &search.wrong))
        consider_all(&search, columns);
    add_sentences(to, exception, wrong, search.best, "", false);
    px_drop_object(&search.best);
    list_columns(to, columns);
}

void px_suggest(struct px_buffer *to, PyObject *exception, bool as_printed)
{
    bool import = PyErr_GivenExceptionMatches(exception, PyExc_ImportError);
    if (as_printed && px_python.version < (import ? 0x030c : 0x030a))
        return;
    bool key = !as_printed && PyErr_GivenExceptionMatches(exception, PyExc_KeyError);
    if (!import && !key && !PyErr_GivenExceptionMatches(exception, PyExc_NameError) &&
        !PyErr_GivenExceptionMatches(exception, PyExc_AttributeError))
        return;
    /* dir() and reading attributes may run the script's code. */
    bool allowed = px_signals_allow(true);
    px_auto_object PyObject *wrong = key ? NULL : wrong_name(exception);
    if (key)
        suggest_column(to, exception);
    if (wrong && PyUnicode_Check(wrong))
        suggest(to, exception, wrong, as_printed);
    px_signals_allow(allowed);
    PyErr_Clear();
}
