/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/modules.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/paths.h"
#include "guest/embedded_python.h"
#include "guest/pyobject_access.h"

static struct {
    bool session;
    struct px_source *sources;
    PyObject *lines_cache; /* linecache.cache */
    PyObject *real_getfile, *real_create_task;
    PyObject *path_entry; /* the entry of sys.path that was added here */
    bool begun;
} state;

/* ---- linecache ---- */

/* Returns the lines of a source as linecache keeps the lines of a file. */
static PyObject *lines_of(struct px_source *source)
{
    size_t length;
    px_auto_object PyObject *lines = PyList_New(0);
    const char *line;
    for (long i = 1; lines && (line = px_source_line(source, source->filename, i, &length)); i++) {
        px_auto_object PyObject *text = PyUnicode_DecodeUTF8(line, (Py_ssize_t)length, "replace");
        px_auto_object PyObject *ended = text ? PyUnicode_FromFormat("%U\n", text) : NULL;
        if (!ended || PyList_Append(lines, ended) < 0)
            return NULL;
    }
    return TAKE_PTR(lines);
}

/* The entry has no modification time, so checkcache() does not drop it. */
static int publish(struct px_source *source)
{
    px_auto_object PyObject *lines = lines_of(source);
    px_auto_object PyObject *entry =
        lines ? Py_BuildValue("(nOOs)", (Py_ssize_t)source->length, Py_None, lines, source->filename) : NULL;
    return entry ? PyDict_SetItemString(state.lines_cache, source->filename, entry) : -1;
}

static int tell_linecache(PyObject *module)
{
    px_auto_object PyObject *cache = PyObject_GetAttrString(module, "cache");
    if (!cache || !PyDict_Check(cache))
        return -1;
    state.lines_cache = TAKE_PTR(cache);
    for (struct px_source *source = state.sources; source; source = source->next)
        if (publish(source) < 0)
            return -1;
    return 0;
}

void px_modules_forget(const char *filename)
{
    if (state.lines_cache && PyDict_DelItemString(state.lines_cache, filename) < 0)
        PyErr_Clear();
}

/* ---- inspect ---- */

static bool defines_class(const struct px_source *source, const char *name)
{
    const char *at = source->code, *end = at + source->length;
    size_t length = strlen(name);
    while ((at = memmem(at, (size_t)(end - at), "class ", 6))) {
        at += 6;
        if ((size_t)(end - at) > length && memcmp(at, name, length) == 0 && strchr("(:[ \t", at[length]))
            return true;
    }
    return false;
}

/* Returns the file name of the cell that last defined a class of the script: a new reference, or NULL. */
static PyObject *file_of_class(PyObject *type)
{
    px_auto_buffer struct px_buffer name = {0};
    px_auto_object PyObject *module = PyObject_GetAttrString(type, "__module__");
    if (!module || !PyUnicode_Check(module) || PyUnicode_CompareWithASCIIString(module, "__main__") != 0 ||
        !px_pyobject_text_attribute(&name, type, px_name.__name__, 256))
        return NULL;
    for (struct px_source *source = state.sources; source; source = source->next)
        if (defines_class(source, px_buffer_shown(&name)))
            return PyUnicode_FromString(source->filename);
    return NULL;
}

static PyObject *getfile(PyObject *self, PyObject *object)
{
    (void)self;
    PyObject *type, *value, *traceback;
    PyObject *file = PyObject_CallFunctionObjArgs(state.real_getfile, object, NULL);
    if (file || !PyType_Check(object))
        return file;
    PyErr_Fetch(&type, &value, &traceback);
    file = file_of_class(object);
    if (!file) {
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return file;
}

/* Replaces a function of the module with ours. */
static int replace(PyObject *module, PyMethodDef *definition, PyObject **real)
{
    *real = PyObject_GetAttrString(module, definition->ml_name);
    px_auto_object PyObject *wrapper = *real ? PyCFunction_New(definition, NULL) : NULL;
    return wrapper ? PyObject_SetAttrString(module, definition->ml_name, wrapper) : -1;
}

static int tell_inspect(PyObject *module)
{
    static PyMethodDef definition = {"getfile", getfile, METH_O,
                                     "Work out which source or compiled file an object was defined in."};
    return replace(module, &definition, &state.real_getfile);
}

/* ---- asyncio ---- */

static PyObject *create_task(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    PyObject *type, *value, *traceback;
    PyObject *task = PyObject_Call(state.real_create_task, arguments, keywords);
    if (task || !state.session || PyTuple_Size(arguments) != 1 || !PyErr_ExceptionMatches(PyExc_RuntimeError))
        return task;
    PyErr_Fetch(&type, &value, &traceback);
    px_auto_object PyObject *none = keywords ? NULL : PyDict_New();
    task = px_embedded_call_file("loop.py", "create_task",
                                 PyTuple_Pack(2, PyTuple_GetItem(arguments, 0), keywords ? keywords : none));
    if (task != Py_None) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return task;
    }
    Py_DECREF(task);
    PyErr_Restore(type, value, traceback);
    return NULL;
}

static int tell_asyncio(PyObject *package)
{
    static PyMethodDef definition = {"create_task", (PyCFunction)(void (*)(void))create_task,
                                     METH_VARARGS | METH_KEYWORDS,
                                     "Schedule the execution of a coroutine object in a spawn task."};
    px_auto_object PyObject *tasks = px_pyobject_module("asyncio.tasks");
    if (!tasks || replace(tasks, &definition, &state.real_create_task) < 0)
        return -1;
    px_auto_object PyObject *wrapper = PyObject_GetAttrString(tasks, "create_task");
    return wrapper ? PyObject_SetAttrString(package, "create_task", wrapper) : -1;
}

/* ---- When they are imported ---- */

static struct {
    const char *name;
    int (*tell)(PyObject *module);
    PyObject *interned;
    bool told;
} modules[] = {
    {"linecache", tell_linecache, NULL, false},
    {"inspect", tell_inspect, NULL, false},
    {"asyncio", tell_asyncio, NULL, false},
};

/* A module that is still being loaded lacks the functions to replace. It is tried again after the next import. */
void px_modules_note_import(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (size_t i = 0; i < PX_COUNT(modules); i++) {
        px_auto_object PyObject *module = modules[i].told ? NULL : PyImport_GetModule(modules[i].interned);
        if (module)
            modules[i].told = modules[i].tell(module) == 0;
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

int px_modules_prepare(void)
{
    for (size_t i = 0; i < PX_COUNT(modules); i++)
        if (!(modules[i].interned = PyUnicode_InternFromString(modules[i].name)))
            return -1;
    px_modules_note_import();
    return 0;
}

/* ---- sys.path ---- */

/* importlib keeps a list of the folder's files. A module that an earlier call wrote may be newer than that list. */
static void forget_listing(PyObject *entry)
{
    PyObject *caches = PySys_GetObject("path_importer_cache"); /* borrowed reference */
    if (caches && PyDict_Check(caches) && PyDict_DelItem(caches, entry) < 0)
        PyErr_Clear();
}

/* Makes the run's working directory the last entry of sys.path, so that its files hide no other module. */
static int set_path_entry(const struct px_script *run)
{
    if (run->files == PX_FILES_NONE || !*run->workspace)
        return 0;
    PyObject *path = PySys_GetObject("path"); /* borrowed reference */
    if (!path || !PyList_Check(path))
        return 0;
    px_auto_object PyObject *entry = PyUnicode_DecodeFSDefault(*run->working_dir ? run->working_dir : run->workspace);
    if (!entry)
        return -1;
    if (state.path_entry)
        forget_listing(state.path_entry);
    int has = PySequence_Contains(path, entry);
    Py_ssize_t before = !has && state.path_entry ? PySequence_Index(path, state.path_entry) : -1;
    PyErr_Clear();
    if (before >= 0 && PySequence_DelItem(path, before) < 0)
        return -1;
    px_drop_object(&state.path_entry);
    state.path_entry = TAKE_PTR(entry);
    return has ? 0 : PyList_Append(path, state.path_entry);
}

static bool is_below(PyObject *path, const char *workspace)
{
    px_auto_buffer struct px_buffer text = {0};
    return path && PyUnicode_Check(path) && px_pyobject_text(&text, path, PATH_MAX) &&
           px_path_below(px_buffer_shown(&text), workspace);
}

/* True if the module is below the workspace, or would be loaded from there. */
static bool spec_is_below(PyObject *spec, const char *workspace)
{
    px_auto_object PyObject *origin = PyObject_GetAttrString(spec, "origin");
    if (origin && is_below(origin, workspace))
        return true;
    px_auto_object PyObject *folders = PyObject_GetAttrString(spec, "submodule_search_locations");
    px_auto_object PyObject *first = folders && folders != Py_None ? PySequence_GetItem(folders, 0) : NULL;
    return (!origin || origin == Py_None) && is_below(first, workspace);
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (access(path, F_OK) == 0)
        return true;
    snprintf(path, sizeof path, "%s/%s.py", folder, name);
    return access(path, F_OK) == 0;
}

bool px_modules_are_own(const struct px_script *run, const char *name)
{
    if (run->files == PX_FILES_NONE || !*run->workspace ||
        !is_there(*run->working_dir ? run->working_dir : run->workspace, name))
        return false;
    px_auto_object PyObject *module = px_pyobject_module(name);
    px_auto_object PyObject *bootstrap = module ? NULL : px_pyobject_module("_frozen_importlib");
    px_auto_object PyObject *spec = module      ? PyObject_GetAttrString(module, "__spec__")
                                    : bootstrap ? PyObject_CallMethod(bootstrap, "_find_spec", "sO", name, Py_None)
                                                : NULL;
    bool own = spec && spec != Py_None && spec_is_below(spec, run->workspace);
    PyErr_Clear();
    return own;
}

/* ---- A run ---- */

int px_modules_begin(const struct px_script *run, struct px_source *sources)
{
    state.session = run->flags & PX_RUN_FLAG_SESSION;
    state.sources = sources;
    bool again = state.begun;
    state.begun = true;
    if (set_path_entry(run) < 0 || (state.lines_cache && publish(sources) < 0))
        return -1;
    if (!again || !state.real_create_task)
        return 0;
    /* A failure is ignored: a script that has damaged asyncio can still run without an event loop. */
    px_auto_object PyObject *none = px_embedded_call_file("loop.py", "begin_call", PyTuple_New(0));
    PyErr_Clear();
    return 0;
}
