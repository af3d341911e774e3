/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guard/guard_code.h"

#include <string.h>

#include "base/buffer.h"
#include "guest/guard/guard.h"
#include "guest/guard/guard_imports.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/frames.h"

#define FROZEN "<frozen "

static PyObject *real_rename; /* _imp._fix_co_filename */

/* The code that is responsible for the event. */
enum actor { BY_NOBODY, BY_SCRIPT, BY_LIBRARY, BY_IMPORT };

struct walk {
    enum actor actor;
    bool import;     /* a frame of the import system has been seen */
    bool by_wrapper; /* the import system was called through the import policy */
};

static bool is_importing(const struct px_frame *frame)
{
    return frame->owner == PX_OWNER_STDLIB && strncmp(frame->filename, FROZEN "importlib", 17) == 0;
}

/* Visits the frames from the innermost one outwards. The standard library acts for the code that called it. */
static bool find_actor(const struct px_frame *frame, void *data)
{
    struct walk *walk = data;
    switch (frame->owner) {
    case PX_OWNER_SCRIPT:
        walk->actor = walk->import && walk->by_wrapper ? BY_IMPORT : BY_SCRIPT;
        return false;
    case PX_OWNER_SITE:
        walk->actor = walk->import ? BY_IMPORT : BY_LIBRARY;
        return false;
    case PX_OWNER_STDLIB:
        if (is_importing(frame)) {
            walk->import |= strcmp(frame->function, "_find_and_load") == 0;
            return true;
        }
        if (walk->import)
            walk->actor = BY_IMPORT;
        return !walk->import;
    default:
        return true;
    }
}

static struct walk walk_frames(void)
{
    struct walk walk = {.by_wrapper = px_imports_running()};
    px_frames_walk(find_actor, &walk);
    return walk;
}

void px_code_note_name(PyObject *filename)
{
    struct px_buffer px_auto_buffer text = {0};
    if (!filename || !PyUnicode_Check(filename))
        return;
    px_pyobject_text(&text, filename, 4096);
    const char *name = px_buffer_shown(&text);
    enum px_owner owner = px_frames_owner(name);
    if (owner != PX_OWNER_STDLIB && owner != PX_OWNER_SITE)
        return;
    enum actor actor = walk_frames().actor;
    /* A library may compile templates from files beside it. No code may compile under the name of a frozen module. */
    if (actor == BY_SCRIPT || (actor == BY_LIBRARY && name[0] == '<'))
        px_frames_disown(name);
}

void px_code_note_object(PyObject *code)
{
    px_auto_object PyObject *filename = code ? px_pyobject_attribute(code, px_name.co_filename) : NULL;
    px_code_note_name(filename);
}

/* The import system calls this function to rename a code object; it raises no audit event. */
static PyObject *rename_code(PyObject *self, PyObject *arguments)
{
    (void)self;
    if (PyTuple_Size(arguments) == 2)
        px_code_note_name(PyTuple_GetItem(arguments, 1));
    return PyObject_Call(real_rename, arguments, NULL);
}

int px_code_install(void)
{
    static PyMethodDef definition = {"_fix_co_filename", rename_code, METH_VARARGS, NULL};
    px_auto_object PyObject *module = px_pyobject_module("_imp");
    px_auto_object PyObject *wrapper = PyCFunction_New(&definition, NULL);
    real_rename = module ? PyObject_GetAttrString(module, "_fix_co_filename") : NULL;
    return real_rename && wrapper ? PyObject_SetAttrString(module, "_fix_co_filename", wrapper) : -1;
}

static int refuse(const char *what, const char *phrase, const char *hint)
{
    px_guard_deny(PX_DENIAL_IMPORTS, what, hint);
    PyErr_Format(PyExc_ImportError, "%s. %s", phrase, hint);
    return -1;
}

int px_code_check_marshal(const char *event, PyObject *bytes)
{
    enum actor actor = walk_frames().actor;
    if (actor == BY_IMPORT || actor == BY_NOBODY)
        return 0;
    /* The bytes of a file can't be checked before they are read. */
    if (!bytes && actor == BY_LIBRARY)
        return 0;
    if (bytes) {
        const char *data = PyBytes_AsString(bytes);
        size_t size = (size_t)PyBytes_Size(bytes);
        /* A library may load the file of another module itself, as torch does, but not a frozen module. */
        if (actor == BY_LIBRARY ? !memmem(data, size, FROZEN, strlen(FROZEN)) : !px_frames_named_in(data, size))
            return 0;
    }
    return refuse(event, "the code of the interpreter's own files can't be loaded",
                  bytes ? "Import the module instead."
                        : "Read the file yourself and give the bytes to marshal.loads().");
}

int px_code_check_extension(PyObject *name, PyObject *path)
{
    if (!path || !PyUnicode_Check(path))
        return 0; /* any other import, which the import policy has checked */
    struct walk walk = walk_frames();
    if (walk.actor != BY_SCRIPT || (walk.import && px_imports_permit_object(name)))
        return 0;
    struct px_buffer px_auto_buffer what = {0};
    px_buffer_add_string(&what, "extension ");
    if (name && PyUnicode_Check(name))
        px_pyobject_text(&what, name, 180);
    return refuse(px_buffer_shown(&what), "native code can't be loaded past the import policy",
                  "Use an import statement with an allowed module.");
}

int px_code_check_library(PyObject *name)
{
    if (walk_frames().actor != BY_SCRIPT || px_imports_permit("ctypes") || px_imports_permit("_ctypes"))
        return 0;
    struct px_buffer px_auto_buffer what = {0};
    px_buffer_add_string(&what, "ctypes.dlopen ");
    if (name && PyUnicode_Check(name))
        px_pyobject_text(&what, name, 180);
    return refuse(px_buffer_shown(&what), "native libraries can't be loaded",
                  "This policy does not allow the module ctypes (policy fields allowed_imports, banned_imports).");
}
