/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/display/display.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "base/mime.h"
#include "base/utf8.h"
#include "guest/embedded_python.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"
#include "guest/signals.h"
#include "guest/streams.h"
#include "guest/traceback/traceback.h"

#define NOTICE_MAX 4096

static struct {
    const struct px_script *run; /* NULL: no run */
    struct px_source *sources;
    uint64_t count, bytes, dropped;
    bool told; /* the script has been told that displays are dropped */
} state;

static bool figures; /* matplotlib's backend has been made */

static PyObject *rich_names; /* a tuple of str */
static PyObject *path_finder;

void px_display_arm(const struct px_script *run, struct px_source *sources)
{
    memset(&state, 0, sizeof state);
    state.run = run;
    state.sources = sources;
}

uint64_t px_display_dropped(void)
{
    return state.dropped;
}

bool px_display_has_figures(void)
{
    return figures;
}

/* ---- Output to descriptor 2 ---- */

/* Writes to the descriptor, after all that was printed before: the script may have replaced sys.stderr. */
static int print(const struct px_buffer *text)
{
    unsigned before = px_signals_fired();
    px_streams_flush(true);
    px_write_all(STDERR_FILENO, px_buffer_shown(text), px_buffer_length(text));
    if (px_signals_fired() == before)
        return 0;
    px_signals_raise_last(); /* flushing has swallowed the exception */
    return -1;
}

static PyObject *notice(PyObject *self, PyObject *text)
{
    (void)self;
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_add_string(&line, "pyexec: ");
    px_pyobject_text(&line, text, NOTICE_MAX);
    px_buffer_add_byte(&line, '\n');
    if (!state.run || print(&line) == 0)
        Py_RETURN_NONE;
    return NULL;
}

/* explain(what, exception): prints the traceback of an exception that a representation raised. */
static PyObject *explain(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *what, *exception;
    px_auto_buffer struct px_buffer text = {0};
    if (!PyArg_ParseTuple(arguments, "UO", &what, &exception))
        return NULL;
    if (!state.run)
        Py_RETURN_NONE;
    px_auto_object PyObject *message = px_pyobject_convert(exception, PyObject_Str);
    px_buffer_add_string(&text, "pyexec: a display failed and is not shown: ");
    px_pyobject_text(&text, what, NOTICE_MAX);
    px_buffer_add_byte(&text, '\n');
    px_traceback_format(&text, exception, message, state.sources);
    if (print(&text) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- Output to the host ---- */

static int drop(const char *limit, uint64_t value, const char *advice)
{
    px_auto_buffer struct px_buffer text = {0};
    state.dropped++;
    if (state.told)
        return 0;
    state.told = true;
    px_buffer_printf(&text,
                     "pyexec: a display was dropped, and so is each later display that does not fit: %s=%" PRIu64
                     " is used up. %s\n",
                     limit, value, advice);
    return print(&text);
}

/* Returns how much of max_display_bytes the forms take; -1 with an exception when they have the wrong types. */
static int64_t cost_of(PyObject *forms)
{
    uint64_t cost = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(forms); i++) {
        const char *mime;
        char *data;
        Py_ssize_t mime_length, length;
        if (!PyArg_ParseTuple(PyList_GetItem(forms, i), "s#y#", &mime, &mime_length, &data, &length))
            return -1;
        cost += px_mime_cost(px_mime_of(mime, (size_t)mime_length), data, (size_t)length);
    }
    return (int64_t)cost;
}

/* Sends the whole display without giving up the GIL, so that no other thread sends anything in the middle of it. */
static void put(PyObject *forms, const char *metadata, size_t metadata_length, uint8_t kind)
{
    static struct px_wire_writer writer; /* not the run's writer, which may hold half a result */
    writer.socket = state.run->out->socket;
    writer.length = 0;
    px_wire_put(&writer, PX_RESULT_DISPLAY, &kind, 1);
    for (Py_ssize_t i = 0; i < PyList_Size(forms); i++) {
        const char *mime;
        char *data;
        Py_ssize_t mime_length, length;
        if (!PyArg_ParseTuple(PyList_GetItem(forms, i), "s#y#", &mime, &mime_length, &data, &length))
            break;
        px_wire_put(&writer, PX_RESULT_DISPLAY_FORM, mime, (size_t)mime_length);
        if (length)
            px_wire_put(&writer, PX_RESULT_DISPLAY_DATA, data, (size_t)length);
    }
    if (metadata_length)
        px_wire_put(&writer, PX_RESULT_DISPLAY_METADATA, metadata, metadata_length);
    px_wire_put(&writer, PX_RESULT_DISPLAY_END, NULL, 0);
    px_wire_flush(&writer);
}

/* Flushes stdout and stderr first, to keep the order of the output. */
static int put_in_order(PyObject *forms, const char *metadata, size_t metadata_length, uint8_t kind)
{
    unsigned before = px_signals_fired();
    px_streams_flush(true);
    if (state.run)
        put(forms, metadata, metadata_length, kind);
    if (px_signals_fired() == before)
        return 0;
    px_signals_raise_last(); /* flushing has swallowed the exception */
    return -1;
}

static int send_or_drop(PyObject *forms, const char *metadata, size_t metadata_length, uint8_t kind)
{
    const struct px_script *run = state.run;
    int64_t cost = cost_of(forms);
    if (cost < 0)
        return -1;
    if (!run)
        return 0;
    uint64_t bytes = state.bytes + (uint64_t)cost + metadata_length;
    if (state.count >= run->max_displays)
        return drop("max_displays", run->max_displays, "Show fewer things.");
    if (bytes > run->max_display_bytes || PyList_Size(forms) > PX_DISPLAY_FORMS_MAX)
        return drop("max_display_bytes", run->max_display_bytes, "Show smaller images or fewer rows.");
    state.count++;
    state.bytes = bytes;
    return put_in_order(forms, metadata, metadata_length, kind);
}

/* send([(mime, bytes)], metadata as JSON or b"", whether this is the last value) */
static PyObject *send_display(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *forms;
    const char *metadata;
    Py_ssize_t length;
    int last;
    if (!PyArg_ParseTuple(arguments, "O!y#p", &PyList_Type, &forms, &metadata, &length, &last))
        return NULL;
    size_t kept = length > PX_METADATA_MAX ? 0 : (size_t)length;
    if (send_or_drop(forms, metadata, kept, last ? PX_DISPLAY_LAST_VALUE : PX_DISPLAY_SHOWN) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *mime_kind(PyObject *self, PyObject *name)
{
    (void)self;
    static const char *const kinds[] = {[PX_MIME_TEXT] = "text", [PX_MIME_JSON] = "json", [PX_MIME_BINARY] = "binary"};
    px_auto_buffer struct px_buffer text = {0};
    if (!PyUnicode_Check(name) || !px_pyobject_text(&text, name, PX_MIME_MAX))
        Py_RETURN_NONE;
    enum px_mime mime = px_mime_of(px_buffer_shown(&text), px_buffer_length(&text));
    if (mime == PX_MIME_BAD)
        Py_RETURN_NONE;
    return PyUnicode_FromString(kinds[mime]);
}

static PyObject *watch_figures(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    figures = true;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"send", send_display, METH_VARARGS, NULL},
    {"explain", explain, METH_VARARGS, NULL},
    {"notice", notice, METH_O, NULL},
    {"mime_kind", mime_kind, METH_O, NULL},
    {"watch_figures", watch_figures, METH_NOARGS, NULL},
};

PyMethodDef *px_display_functions(size_t *ret_count)
{
    *ret_count = PX_COUNT(functions);
    return functions;
}

/* ---- display() ---- */

static PyObject *display(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    Py_INCREF(arguments);
    return px_embedded_call("display", arguments, keywords);
}

static PyMethodDef display_definition = {
    "display", (PyCFunction)(void (*)(void))display, METH_VARARGS | METH_KEYWORDS,
    "display(*objects): show them by their richest forms: HTML, images, and their repr as text."};

/* ---- Hooks of libraries, when they are imported ---- */

static bool is_hooked(PyObject *name)
{
    static const char *const hooked[] = {"matplotlib",           "matplotlib.font_manager",
                                         "plotly.io._renderers", "altair",
                                         "PIL.ImageShow",        "IPython",
                                         "IPython.display",      "IPython.core.display_functions",
                                         "numba.core.caching",   "pyexec_matplotlib"};
    for (size_t i = 0; name && PyUnicode_Check(name) && i < PX_COUNT(hooked); i++)
        if (PyUnicode_CompareWithASCIIString(name, hooked[i]) == 0)
            return true;
    return false;
}

/* Returns all finders of sys.meta_path except this one. */
static PyObject *other_finders(void)
{
    PyObject *all = PySys_GetObject("meta_path"); /* borrowed reference */
    PyObject *others = PyList_New(0);
    for (Py_ssize_t i = 0; all && others && PyList_Check(all) && i < PyList_Size(all); i++)
        if (PyList_GetItem(all, i) != path_finder && PyList_Append(others, PyList_GetItem(all, i)) < 0)
            PyErr_Clear();
    return others;
}

static PyObject *find_spec(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *name = PyTuple_Size(arguments) > 0 ? PyTuple_GetItem(arguments, 0) : NULL;
    PyObject *path = PyTuple_Size(arguments) > 1 ? PyTuple_GetItem(arguments, 1) : Py_None;
    if (!is_hooked(name))
        Py_RETURN_NONE;
    px_auto_object PyObject *others = other_finders();
    return others ? px_embedded_call("find_spec", PyTuple_Pack(3, name, path, others), NULL) : NULL;
}

static PyMethodDef find_definition = {"find_spec", find_spec, METH_VARARGS, NULL};

/* Puts an object in front of sys.meta_path; its find_spec answers only for the hooked names. */
static int install_finder(void)
{
    PyObject *all = PySys_GetObject("meta_path"); /* borrowed reference */
    px_auto_object PyObject *function = PyCFunction_New(&find_definition, NULL);
    path_finder = PyModule_New("pyexec_finder");
    if (!all || !function || !path_finder || PyObject_SetAttrString(path_finder, "find_spec", function) < 0)
        return -1;
    return PyList_Insert(all, 0, path_finder);
}

int px_display_prepare(void)
{
    PyObject *builtins = PyEval_GetBuiltins(); /* borrowed reference */
    px_auto_object PyObject *function = PyCFunction_New(&display_definition, NULL);
    rich_names = Py_BuildValue("(sssssssssss)", "_repr_html_", "_repr_mimebundle_", "_repr_png_", "_repr_svg_",
                               "_repr_markdown_", "_repr_latex_", "_repr_json_", "_repr_jpeg_", "_repr_pdf_",
                               "_repr_javascript_", "__getattr__");
    if (!builtins || !function || !rich_names || PyDict_SetItemString(builtins, "display", function) < 0)
        return -1;
    return px_embedded_prepare() < 0 ? -1 : install_finder();
}

void px_display_prepare_ahead(void)
{
    static const char *const modules[] = {"json", "binascii", "keyword"};
    for (size_t i = 0; i < PX_COUNT(modules); i++) {
        px_auto_object PyObject *module = px_guard_import(modules[i]);
        PyErr_Clear();
    }
    px_auto_object PyObject *none = px_embedded_call("preloaded", PyTuple_New(0), NULL);
    PyErr_Clear();
    px_auto_object PyObject *warm = px_embedded_call("tools_warm", PyTuple_New(0), NULL);
    PyErr_Clear();
}

/* ---- The last value ---- */

/* True for types that most scripts end with and that have no rich form. */
static bool is_plain(PyObject *value)
{
    return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyBool_Check(value) || PyList_CheckExact(value) || PyTuple_CheckExact(value) || PyDict_CheckExact(value) ||
           PyBytes_CheckExact(value) || PyType_Check(value);
}

/* Classes written in C that were looked at and have no such name. They never get one and never end, so a pointer
 * is enough to know them. */
static struct {
    PyTypeObject *types[8];
    unsigned next;
} poor;

static bool is_poor(PyTypeObject *type)
{
    for (size_t i = 0; i < PX_COUNT(poor.types); i++)
        if (poor.types[i] == type)
            return true;
    return false;
}

/* True if the value's class or the value itself has an attribute that gives a rich form. */
static bool may_be_rich(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (is_poor(type))
        return false;
    px_auto_object PyObject *own = px_pyobject_attribute(value, px_name.__dict__);
    for (Py_ssize_t i = 0; i < PyTuple_Size(rich_names); i++) {
        PyObject *name = PyTuple_GetItem(rich_names, i);
        px_auto_object PyObject *found = px_pyobject_attribute((PyObject *)type, name);
        if (found || (own && PyDict_CheckExact(own) && PyDict_GetItem(own, name)))
            return true;
    }
    if (!own && !(PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE))
        poor.types[poor.next++ % PX_COUNT(poor.types)] = type;
    return false;
}

int px_display_value(PyObject *value, PyObject *text)
{
    if (is_plain(value) || !may_be_rich(value))
        return 0;
    px_auto_object PyObject *none = px_embedded_call("last_value", PyTuple_Pack(2, value, text), NULL);
    return none ? 0 : -1;
}

int px_display_figures(void)
{
    px_auto_object PyObject *none = px_embedded_call("show_figures", PyTuple_New(0), NULL);
    return none ? 0 : -1;
}

/* ---- Values in and out ---- */

int px_display_value_json(const struct px_script *run, PyObject *value, struct px_buffer *json, struct px_buffer *why)
{
    if (run->value_json == PX_VALUE_JSON_NONE)
        return 0;
    const char *tables = run->value_json == PX_VALUE_JSON_SPLIT ? "split" : "records";
    px_auto_object PyObject *pair =
        px_embedded_call("value_json", Py_BuildValue("(OsK)", value, tables, (unsigned long long)run->max_value), NULL);
    if (!pair || !PyTuple_Check(pair))
        return pair ? 0 : -1;
    PyObject *text = PyTuple_GetItem(pair, 0), *problem = PyTuple_GetItem(pair, 1);
    if (PyUnicode_Check(text))
        px_pyobject_text(json, text, PX_VALUE_MAX);
    else if (PyUnicode_Check(problem))
        px_pyobject_text(why, problem, 1000);
    return 0;
}

int px_display_set_variables(const struct px_script *run, PyObject *names)
{
    if (!run->variables_length)
        return 0;
    px_auto_object PyObject *values =
        px_embedded_call("variables", Py_BuildValue("(s#)", run->variables, (Py_ssize_t)run->variables_length), NULL);
    return values ? PyDict_Update(names, values) : -1;
}
