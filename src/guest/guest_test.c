/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the guest as an extension module of an ordinary interpreter, for guest_test.py: it tests the policy of
 * imports, the marks in tracebacks, the run message and the cut before the last expression without a sandbox. */
#include <string.h>

#include "guest/guard/denial.h"
#include "guest/guard/guard_imports.h"
#include "guest/last_statement.h"
#include "guest/modules.h"
#include "guest/program.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/caret.h"
#include "guest/traceback/frames.h"

#define TREES_MAX 8

PyMODINIT_FUNC PyInit_pyexec_guest(void);
PyMODINIT_FUNC PyInit_pyexec_guest_test(void);

static struct px_script run;
static struct px_wire_writer channel;

/* prepare(folder, …): what a zygote does once. Code below the folders counts as the standard library. */
static PyObject *prepare(PyObject *self, PyObject *folders)
{
    static char *trees[TREES_MAX + 1];
    (void)self;
    size_t count = 0;
    for (; count < TREES_MAX && (Py_ssize_t)count < PyTuple_Size(folders); count++) {
        px_auto_object PyObject *bytes = PyUnicode_EncodeFSDefault(PyTuple_GetItem(folders, (Py_ssize_t)count));
        if (!bytes || !(trees[count] = strdup(PyBytes_AsString(bytes))))
            return NULL;
    }
    px_auto_object PyObject *guest = PyInit_pyexec_guest();
    if (!guest || px_pyobject_prepare() < 0 || px_modules_prepare() < 0 || px_caret_prepare() < 0 ||
        px_program_prepare() < 0)
        return NULL;
    px_frames_prepare((const char *const *)trees, count);
    if (px_imports_install() < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* arm(flags, allowed, banned, descriptor): the policy is in force from here on, and denials are written to the
 * descriptor. */
static PyObject *arm(PyObject *self, PyObject *arguments)
{
    static char empty[] = "";
    (void)self;
    unsigned long flags;
    PyObject *allowed, *banned;
    if (!PyArg_ParseTuple(arguments, "kOOi", &flags, &allowed, &banned, &channel.socket))
        return NULL;
    Py_INCREF(allowed);
    Py_INCREF(banned);
    run = (struct px_script){.flags = (uint32_t)flags,
                             .allowed = allowed,
                             .banned = banned,
                             .workspace = empty,
                             .working_dir = empty,
                             .out = &channel};
    px_denial_arm(&run);
    px_imports_arm(&run);
    Py_RETURN_NONE;
}

static PyObject *disarm(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    px_imports_arm(NULL);
    px_denial_arm(NULL);
    Py_RETURN_NONE;
}

/* caret(entry, line, filename, source): returns the lines of one traceback entry, with their marks. */
static PyObject *caret(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *entry;
    long line;
    const char *filename, *code;
    if (!PyArg_ParseTuple(arguments, "Olss", &entry, &line, &filename, &code))
        return NULL;
    px_auto(px_source_done) struct px_source source = {.filename = filename, .code = code, .length = strlen(code)};
    px_auto_object PyObject *frame = PyObject_GetAttrString(entry, "tb_frame");
    px_auto_object PyObject *object = frame ? PyObject_GetAttrString(frame, "f_code") : NULL;
    if (!object)
        return NULL;
    px_auto_buffer struct px_buffer text = {0};
    px_caret_begin();
    px_caret_add(&text, object, entry, line, filename, &source);
    return PyUnicode_FromString(px_buffer_shown(&text));
}

/* fields(): returns (name, form, kind, size, maximum) for each row of run_fields.def. */
static PyObject *fields(PyObject *self, PyObject *arguments)
{
    static const struct {
        const char *name, *form;
        unsigned kind;
        unsigned long long size, maximum;
    } rows[] = {
#define PX_RUN_MARK(NAME, member) {#NAME, "mark", PX_RUN_##NAME, 0, 0},
#define PX_RUN_LONG(NAME, member, maximum, ...) \
    {#NAME, "text", PX_RUN_##NAME, maximum, 0}, {#NAME "_FILE", "file", PX_RUN_##NAME##_FILE, 8, maximum},
#define PX_RUN_NUMBER(NAME, wire, type, member, maximum, value) {#NAME, "number", PX_RUN_##NAME, sizeof(wire), maximum},
#define PX_RUN_TEXT(NAME, member, maximum, text) {#NAME, "text", PX_RUN_##NAME, maximum, 0},
#define PX_RUN_LIST(NAME, maximum, take, add) {#NAME, "list", PX_RUN_##NAME, 0, maximum},
#define PX_RUN_ANSWER(NAME) {#NAME, "answer", PX_RUN_##NAME, 0, 0},
#include "protocol/run_fields.def"
    };
    (void)self;
    (void)arguments;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < sizeof rows / sizeof rows[0]; i++) {
        px_auto_object PyObject *row =
            Py_BuildValue("ssIKK", rows[i].name, rows[i].form, rows[i].kind, rows[i].size, rows[i].maximum);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* receive(descriptor): reads a run message. Returns its numbers and texts by name, or None if it is refused. */
static PyObject *receive(PyObject *self, PyObject *arguments)
{
    static struct px_script script;
    (void)self;
    int descriptor;
    if (!PyArg_ParseTuple(arguments, "i", &descriptor))
        return NULL;
    if (px_script_receive(descriptor, &script) < 0)
        Py_RETURN_NONE;
#define PX_RUN_NUMBER(NAME, wire, type, member, maximum, value) {#NAME, script.member},
    const struct {
        const char *name;
        unsigned long long value;
    } numbers[] = {
#include "protocol/run_fields.def"
    };
    PyObject *found = PyDict_New();
#define PX_RUN_LONG(NAME, member, ...) {#NAME, script.member},
#define PX_RUN_TEXT(NAME, member, ...) {#NAME, script.member},
    const struct {
        const char *name, *value;
    } texts[] = {
#include "protocol/run_fields.def"
    };
    for (size_t i = 0; found && i < sizeof numbers / sizeof numbers[0]; i++) {
        px_auto_object PyObject *value = PyLong_FromUnsignedLongLong(numbers[i].value);
        if (!value || PyDict_SetItemString(found, numbers[i].name, value) < 0)
            Py_CLEAR(found);
    }
    for (size_t i = 0; found && i < sizeof texts / sizeof texts[0]; i++) {
        px_auto_object PyObject *value = PyUnicode_FromString(texts[i].value);
        if (!value || PyDict_SetItemString(found, texts[i].name, value) < 0)
            Py_CLEAR(found);
    }
    return found;
}

/* program(code): compiles it as a run does. Returns the code objects of the statements and of the value, each or None. */
static PyObject *program(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *code;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "s#", &code, &length))
        return NULL;
    struct px_source source = {.filename = "<cell>", .code = code, .length = (size_t)length};
    struct px_program compiled = {0};
    PyObject *ret = NULL;
    if (px_program_compile(&compiled, &source, true, false) == 0)
        ret = PyTuple_Pack(2, compiled.body ? compiled.body : Py_None, compiled.value ? compiled.value : Py_None);
    px_program_done(&compiled);
    px_source_done(&source);
    return ret;
}

/* last_statement(code, nested): what the text shows, and the place. */
static PyObject *last_statement(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *code;
    Py_ssize_t length;
    int nested;
    if (!PyArg_ParseTuple(arguments, "s#p", &code, &length, &nested))
        return NULL;
    static const char *const names[] = {[PX_LAST_UNKNOWN] = "unknown",
                                        [PX_LAST_NO_VALUE] = "no value",
                                        [PX_LAST_EXPRESSION] = "expression",
                                        [PX_LAST_ALONE] = "alone"};
    size_t start = 0;
    enum px_last_statement last = px_last_statement_find(code, (size_t)length, nested, &start);
    return Py_BuildValue("(sk)", names[last], (unsigned long)start);
}

static PyMethodDef methods[] = {
    {"prepare", prepare, METH_VARARGS, NULL},
    {"arm", arm, METH_VARARGS, NULL},
    {"disarm", disarm, METH_NOARGS, NULL},
    {"caret", caret, METH_VARARGS, NULL},
    {"fields", fields, METH_NOARGS, NULL},
    {"receive", receive, METH_VARARGS, NULL},
    {"program", program, METH_VARARGS, NULL},
    {"last_statement", last_statement, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyexec_guest_test", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_pyexec_guest_test(void)
{
    PyObject *object = PyModule_Create(&module);
    if (object && (PyModule_AddIntConstant(object, "WHITELIST", PX_RUN_FLAG_WHITELIST) < 0 ||
                   PyModule_AddIntConstant(object, "BLOCK_DUNDER", PX_RUN_FLAG_BLOCK_DUNDER) < 0 ||
                   PyModule_AddIntConstant(object, "DENIAL", PX_RESULT_DENIAL) < 0 ||
                   PyModule_AddIntConstant(object, "LAYER_IMPORTS", PX_DENIAL_IMPORTS) < 0 ||
                   PyModule_AddIntConstant(object, "DENIALS_MAX", PX_DENIALS_MAX) < 0))
        Py_CLEAR(object);
    return object;
}
