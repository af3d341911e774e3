/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/pyobject_access.h"

static const struct stream {
    const char *name, *hidden_name, *shown_name, *mode, *errors;
} table[3] = {
    {"stdin", "__stdin__", "<stdin>", "r", "surrogateescape"},
    {"stdout", "__stdout__", "<stdout>", "w", "backslashreplace"},
    {"stderr", "__stderr__", "<stderr>", "w", "backslashreplace"},
};

/* References from before the script, which may replace these objects in sys. */
static PyObject *streams[3], *flush[3], *io_module;
static PyObject *sys_names, *stream_names[3]; /* the dictionary of sys, and keys of it */
static bool suspect[3];                       /* flushing it has failed */

/* Makes a stream as create_stdio() does when the interpreter starts. */
static PyObject *make_stream(PyObject *io, int fd, const struct stream *about)
{
    const char *binary = *about->mode == 'r' ? "rb" : "wb";
    px_auto_object PyObject *buffer =
        PyObject_CallMethod(io, "open", "isiOOOO", fd, binary, -1, Py_None, Py_None, Py_None, Py_False);
    px_auto_object PyObject *raw = buffer ? PyObject_GetAttrString(buffer, "raw") : NULL;
    px_auto_object PyObject *name = PyUnicode_FromString(about->shown_name);
    if (!raw || !name || PyObject_SetAttrString(raw, "name", name) < 0)
        return NULL;
    px_auto_object PyObject *stream = PyObject_CallMethod(io, "TextIOWrapper", "OsssO", buffer, "utf-8", about->errors,
                                                          "\n", *about->mode == 'w' ? Py_True : Py_False);
    px_auto_object PyObject *mode = PyUnicode_FromString(about->mode);
    if (!stream || !mode || PyObject_SetAttrString(stream, "mode", mode) < 0 ||
        PySys_SetObject(about->name, stream) < 0 || PySys_SetObject(about->hidden_name, stream) < 0)
        return NULL;
    return TAKE_PTR(stream);
}

static int make_streams(void)
{
    px_auto_object PyObject *io = PyImport_ImportModule("io");
    px_auto_object PyObject *sys = PyImport_ImportModule("sys");
    sys_names = sys ? PyModule_GetDict(sys) : NULL;
    Py_XINCREF(sys_names);
    for (int i = 0; io && i < 3; i++) {
        if (!sys_names || !(stream_names[i] = PyUnicode_InternFromString(table[i].name)))
            return -1;
        streams[i] = make_stream(io, i, &table[i]);
        flush[i] = streams[i] ? PyObject_GetAttr(streams[i], px_name.flush) : NULL;
        if (!flush[i])
            return -1;
    }
    io_module = io;
    Py_XINCREF(io_module);
    return io ? 0 : -1;
}

bool px_streams_input_works(void)
{
    if (PyDict_GetItem(sys_names, stream_names[0]) != streams[0])
        return false;
    px_auto_object PyObject *closed = px_pyobject_attribute(streams[0], px_name.closed);
    PyErr_Clear();
    return closed == Py_False;
}

void px_streams_renew_input(void)
{
    PyObject *fresh = make_stream(io_module, 0, &table[0]);
    /* Making the stream runs Python code, so an interrupt can end it. The interrupt is meant for the script and is
     * raised again later. */
    if (!fresh && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        fresh = make_stream(io_module, 0, &table[0]);
        PyErr_SetInterrupt();
    }
    if (fresh) {
        Py_XDECREF(streams[0]);
        streams[0] = fresh;
    }
    PyErr_Clear();
}

static void flush_replaced(const struct stream *about, PyObject *original)
{
    PyObject *stream = PySys_GetObject(about->name);
    if (!stream || stream == Py_None || stream == original)
        return;
    Py_INCREF(stream);
    px_auto_object PyObject *method = px_pyobject_attribute(stream, px_name.flush);
    px_auto_object PyObject *result = method ? PyObject_CallObject(method, NULL) : NULL;
    Py_DECREF(stream);
    PyErr_Clear();
}

/* True if sys still has the stream that was made here, and it is open. Each call ends with a flush, and flushing a
 * closed stream fails. So `closed` is read only after a flush has failed. */
static bool output_works(int i)
{
    if (PyDict_GetItem(sys_names, stream_names[i]) != streams[i])
        return false;
    if (!suspect[i])
        return true;
    suspect[i] = false;
    px_auto_object PyObject *closed = px_pyobject_attribute(streams[i], px_name.closed);
    PyErr_Clear();
    return closed == Py_False;
}

void px_streams_restore_output(void)
{
    for (int i = 1; i < 3; i++) {
        if (output_works(i))
            continue;
        flush_replaced(&table[i], streams[i]);
        PySys_SetObject(table[i].name, streams[i]);
        suspect[i] = true; /* the replaced stream may have closed this one when it was deleted */
        px_auto_object PyObject *fresh = output_works(i) ? NULL : make_stream(io_module, i, &table[i]);
        px_auto_object PyObject *method = fresh ? PyObject_GetAttr(fresh, px_name.flush) : NULL;
        if (method) {
            px_drop_object(&streams[i]);
            px_drop_object(&flush[i]);
            streams[i] = TAKE_PTR(fresh);
            flush[i] = TAKE_PTR(method);
        }
        PyErr_Clear();
    }
}

/* A file object remembers whether its descriptor could seek when first asked. If that answer came from the
 * zygote's /dev/null, wrapping sys.stdout.buffer again, as scripts do, would fail. So the streams are made on a
 * pipe, which is what a child has. */
int px_streams_prepare(void)
{
    px_streams_flush(true);
    int saved[3] = {-1, -1, -1}, ends[2] = {-1, -1}, failed = pipe2(ends, O_CLOEXEC);
    for (int i = 0; i < 3 && !failed; i++) {
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
        if (saved[i] < 0 || dup2(ends[i > 0], i) < 0)
            failed = -1;
    }
    if (failed)
        PyErr_SetFromErrno(PyExc_OSError);
    else
        failed = make_streams();
    for (int i = 0; i < 3; i++) {
        if (saved[i] >= 0)
            dup2(saved[i], i);
        px_close_fd(&saved[i]);
    }
    px_close_fd(&ends[0]);
    px_close_fd(&ends[1]);
    return failed;
}

void px_streams_flush(bool replaced)
{
    for (int i = 1; i < 3 && replaced; i++)
        flush_replaced(&table[i], streams[i]);
    for (int i = 1; i < 3; i++) {
        px_auto_object PyObject *result = flush[i] ? PyObject_CallObject(flush[i], NULL) : NULL;
        suspect[i] |= !result;
        PyErr_Clear();
    }
}
