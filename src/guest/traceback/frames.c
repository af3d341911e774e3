/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/frames.h"

#include <dlfcn.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/paths.h"
#include "guest/embedded_python.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"

#if PY_VERSION_HEX < 0x03090000
/* Every interpreter has this function, but the headers of 3.8 leave it out of the limited API. */
typedef struct _frame PyFrameObject;
int PyFrame_GetLineNumber(PyFrameObject *frame);
#endif

#define DISOWNED_MAX 64     /* with more names than this, no name is trusted */
#define FRAME_DEPTH_MAX 400 /* frames that are visited; for a deeper stack the owner may stay unknown */

static const char *const *trees;
static size_t stdlib_count;
static PyObject *script_names; /* the dictionary of __main__ */
static const char *workspace = "";
static char *disowned[DISOWNED_MAX];
static size_t disowned_count;

static bool is_disowned(const char *filename)
{
    if (disowned_count == DISOWNED_MAX)
        return true;
    for (size_t i = 0; i < disowned_count; i++)
        if (strcmp(disowned[i], filename) == 0)
            return true;
    return false;
}

void px_frames_disown(const char *filename)
{
    if (is_disowned(filename))
        return;
    char *copy = strdup(filename);
    if (copy)
        disowned[disowned_count++] = copy;
    else
        disowned_count = DISOWNED_MAX;
}

bool px_frames_named_in(const char *bytes, size_t length)
{
    if (memmem(bytes, length, "<frozen ", 8))
        return true;
    for (size_t i = 0; trees && trees[i]; i++)
        if (memmem(bytes, length, trees[i], strlen(trees[i])))
            return true;
    return false;
}

void px_frames_arm(const char *path)
{
    workspace = path ? path : "";
}

void px_frames_prepare(const char *const *all, size_t count)
{
    trees = all;
    stdlib_count = count;
    PyObject *module = PyImport_AddModule("__main__");
    script_names = module ? PyModule_GetDict(module) : NULL;
    Py_XINCREF(script_names);
    PyErr_Clear();
}

enum px_owner px_frames_owner(const char *filename)
{
    if (disowned_count && is_disowned(filename))
        return PX_OWNER_NONE;
    if (filename[0] == '<') {
        /* The modules code, timeit and doctest give the script's code the last three names. */
        static const char *const scripts[] = {"<cell", "<console>", "<timeit-src>", "<doctest "};
        for (size_t i = 0; i < PX_COUNT(scripts); i++)
            if (strncmp(filename, scripts[i], strlen(scripts[i])) == 0)
                return PX_OWNER_SCRIPT;
        return strncmp(filename, "<frozen ", 8) == 0 ? PX_OWNER_STDLIB : PX_OWNER_NONE;
    }
    /* The longest matching folder decides: site-packages is below the standard library. */
    size_t best = 0;
    enum px_owner owner = PX_OWNER_SCRIPT;
    for (size_t i = 0; trees && trees[i]; i++) {
        size_t length = strlen(trees[i]);
        if (length > best && px_path_below(filename, trees[i])) {
            best = length;
            owner = i < stdlib_count ? PX_OWNER_STDLIB : PX_OWNER_SITE;
        }
    }
    /* A workspace may be inside a project folder from which modules are imported. */
    if (strlen(workspace) > best && px_path_below(filename, workspace))
        return PX_OWNER_SCRIPT;
    return owner;
}

bool px_frames_in_trees(const char *path)
{
    for (size_t i = 0; trees && trees[i]; i++)
        if (px_path_below(path, trees[i]))
            return true;
    return false;
}

/* Returns the UTF-8 of a str attribute, which the str itself keeps; "" when there is none. */
static const char *text(PyObject *object, PyObject *name)
{
    static const char *(*as_utf8)(PyObject *, Py_ssize_t *);
    static bool looked;
    if (!looked) {
        /* The limited API has it only since 3.10. */
        *(void **)&as_utf8 = dlsym(RTLD_DEFAULT, "PyUnicode_AsUTF8AndSize");
        looked = true;
    }
    px_auto_object PyObject *value = object ? px_pyobject_attribute(object, name) : NULL;
    /* The code object also holds the str, so its bytes stay valid after this reference is released. */
    const char *bytes = value && PyUnicode_Check(value) && as_utf8 ? as_utf8(value, NULL) : NULL;
    return bytes ? bytes : "";
}

/* True for code that was made from a string and runs in the script's names: the argument of exec() or eval(). */
static bool in_script_names(PyObject *frame)
{
    px_auto_object PyObject *names = px_pyobject_attribute(frame, px_name.f_globals);
    return names && names == script_names;
}

void px_frames_walk(bool (*visit)(const struct px_frame *frame, void *data), void *data)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *frame = (PyObject *)PyEval_GetFrame();
    Py_XINCREF(frame);
    for (int depth = 0; frame && frame != Py_None && depth < FRAME_DEPTH_MAX; depth++) {
        px_auto_object PyObject *code = px_pyobject_attribute(frame, px_name.f_code);
        struct px_frame seen = {
            .object = frame, .filename = text(code, px_name.co_filename), .function = text(code, px_name.co_name)};
        seen.owner = px_frames_owner(seen.filename);
        if (seen.owner == PX_OWNER_NONE && in_script_names(frame))
            seen.owner = PX_OWNER_SCRIPT;
        bool more = visit(&seen, data);
        PyObject *back = more ? px_pyobject_attribute(frame, px_name.f_back) : NULL;
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    PyErr_Restore(type, value, traceback);
}

static bool find_owner(const struct px_frame *frame, void *data)
{
    enum px_owner *owner = data;
    *owner = frame->owner;
    return frame->owner == PX_OWNER_NONE;
}

enum px_owner px_frames_caller(void)
{
    enum px_owner owner = PX_OWNER_NONE;
    px_frames_walk(find_owner, &owner);
    return owner;
}

bool px_guard_is_script(const char *filename)
{
    enum px_owner owner = px_frames_owner(filename);
    return (owner == PX_OWNER_SCRIPT || owner == PX_OWNER_NONE) && strcmp(filename, PX_HELPER_FILENAME) != 0;
}

static bool find_script(const struct px_frame *frame, void *data)
{
    if (strncmp(frame->filename, "<cell", 5) != 0)
        return true;
    *(int *)data = PyFrame_GetLineNumber((PyFrameObject *)frame->object);
    return false;
}

int px_guard_script_line(void)
{
    int line = 0;
    px_frames_walk(find_script, &line);
    return line;
}
