/* The guard's entry points, and the table of audit events that it judges. */
#include "guest/guard.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "guest/denial.h"
#include "guest/frames.h"
#include "guest/guard_files.h"
#include "guest/guard_imports.h"
#include "guest/read.h"

#ifdef PX_WITHOUT_GUARD

int px_guard_install(const char *const *trees, size_t stdlib_count)
{
    px_frames_prepare(trees, stdlib_count);
    return 0;
}

int px_guard_arm(const struct px_run *run)
{
    px_denial_arm(run);
    return 0;
}

#else

static const struct px_run *run;

enum kind { OPEN, READ, WRITE, WRITE_TWO, SYMLINK, DATABASE, SOCKET_NEW, SOCKET, PROCESS };

/* What is judged (https://docs.python.org/3/library/audit_events.html). shutil, tempfile, glob
 * and pathlib come down to these. */
static const struct {
    const char *event;
    enum kind kind;
} events[] = {
    {"open", OPEN},
    {"os.chdir", READ},
    {"os.chflags", WRITE},
    {"os.chmod", WRITE},
    {"os.chown", WRITE},
    {"os.exec", PROCESS},
    {"os.fork", PROCESS},
    {"os.forkpty", PROCESS},
    {"os.getxattr", READ},
    {"os.link", WRITE_TWO},
    {"os.listdir", READ},
    {"os.listxattr", READ},
    {"os.mkdir", WRITE},
    {"os.posix_spawn", PROCESS},
    {"os.remove", WRITE},
    {"os.removexattr", WRITE},
    {"os.rename", WRITE_TWO},
    {"os.rmdir", WRITE},
    {"os.scandir", READ},
    {"os.setxattr", WRITE},
    {"os.spawn", PROCESS},
    {"os.symlink", SYMLINK},
    {"os.system", PROCESS},
    {"os.truncate", WRITE},
    {"os.utime", WRITE},
    {"pty.spawn", PROCESS},
    {"socket.__new__", SOCKET_NEW},
    {"socket.bind", SOCKET},
    {"socket.connect", SOCKET},
    {"socket.getaddrinfo", SOCKET},
    {"socket.gethostbyaddr", SOCKET},
    {"socket.gethostbyname", SOCKET},
    {"socket.getnameinfo", SOCKET},
    {"sqlite3.connect", DATABASE},
    {"subprocess.Popen", PROCESS},
};

static PyObject *item(PyObject *arguments, Py_ssize_t index)
{
    return PyTuple_Check(arguments) && PyTuple_Size(arguments) > index
               ? PyTuple_GetItem(arguments, index)
               : NULL;
}

static int refuse(enum px_denial_layer layer, const char *event, PyObject *detail, bool report,
                  const char *phrase, const char *hint)
{
    if (report) {
        struct px_buffer px_auto_buffer what = {0};
        px_buffer_printf(&what, "%s ", event);
        PyObject *text = detail ? px_read_convert(detail, PyObject_Repr) : NULL;
        if (text)
            px_read_text(&what, text, 180);
        Py_XDECREF(text);
        px_guard_deny(layer, px_buffer_string(&what), hint);
    }
    PyErr_Format(PyExc_PermissionError, "%s. %s", phrase, hint);
    return -1;
}

static int check_open(PyObject *arguments)
{
    PyObject *flags = item(arguments, 2), *mode = item(arguments, 1);
    long bits = flags && PyLong_Check(flags) ? PyLong_AsLong(flags) : 0;
    PyErr_Clear();
    bool writes = (bits & O_ACCMODE) != O_RDONLY || bits & (O_CREAT | O_TRUNC | O_APPEND);
    if (mode && PyUnicode_Check(mode)) {
        struct px_buffer px_auto_buffer text = {0};
        px_read_text(&text, mode, 16);
        writes |= strpbrk(px_buffer_string(&text), "wax+") != NULL;
    }
    return px_files_check("open", item(arguments, 0), writes);
}

static int check_socket(const char *event, PyObject *arguments, bool creates)
{
    if (run->flags & PX_RUN_FLAG_NETWORK)
        return 0;
    /* A pair of AF_UNIX sockets is not a network: asyncio needs one. */
    PyObject *family = creates ? item(arguments, 1) : NULL;
    long number = family && PyLong_Check(family) ? PyLong_AsLong(family) : 0;
    PyErr_Clear();
    if (creates && (number == AF_UNIX || number == -1))
        return 0;
    PyObject *address = creates ? NULL : item(arguments, strcmp(event, "socket.connect") == 0 ||
                                                             strcmp(event, "socket.bind") == 0);
    return refuse(PX_DENIAL_NETWORK, event, address, true, "network disabled",
                  "Scripts have no network here (policy field disable_networking): put the data "
                  "into the code, stdin or files of the request.");
}

/* Standard modules that try a program and cope without. */
static bool is_probe(const struct px_frame *frame, void *data)
{
    static const char *const modules[] = {"/platform.py", "/uuid.py", "/ctypes/util.py",
                                          "/locale.py", "/webbrowser.py"};
    for (size_t i = 0; i < PX_COUNT(modules); i++)
        if (strstr(frame->filename, modules[i]))
            *(bool *)data = true;
    return frame->owner != PX_OWNER_SCRIPT && !*(bool *)data;
}

static int check_process(const char *event, PyObject *arguments)
{
    bool probe = false;
    px_frames_walk(is_probe, &probe);
    return refuse(PX_DENIAL_PROCESSES, event, item(arguments, 0), !probe,
                  "processes are not allowed",
                  "A script can't start programs or fork: do it in Python in this process.");
}

static int check(size_t i, PyObject *arguments)
{
    const char *event = events[i].event;
    switch (events[i].kind) {
    case OPEN:
        return check_open(arguments);
    case READ:
        return px_files_check(event, item(arguments, 0), false);
    case WRITE:
        return px_files_check(event, item(arguments, 0), true);
    case WRITE_TWO:
        return px_files_check(event, item(arguments, 0), true) < 0
                   ? -1
                   : px_files_check(event, item(arguments, 1), true);
    case SYMLINK:
        return px_files_check(event, item(arguments, 1), true);
    case DATABASE:
        return px_files_check(event, item(arguments, 0), run->files == PX_FILES_FULL);
    case SOCKET_NEW:
        return check_socket(event, arguments, true);
    case SOCKET:
        return check_socket(event, arguments, false);
    default:
        return check_process(event, arguments);
    }
}

static int on_event(const char *event, PyObject *arguments, void *data)
{
    static __thread bool inside;
    (void)data;
    if (!run || inside || !strchr("ops", event[0]))
        return 0;
    for (size_t i = 0; i < PX_COUNT(events); i++) {
        if (strcmp(events[i].event, event) != 0)
            continue;
        /* What the judging itself touches is not the script's doing. */
        inside = true;
        int result = check(i, arguments);
        inside = false;
        return result;
    }
    return 0;
}

int px_guard_install(const char *const *trees, size_t stdlib_count)
{
    px_frames_prepare(trees, stdlib_count);
    if (!px_python.add_audit_hook) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter has no PySys_AddAuditHook");
        return -1;
    }
    return px_python.add_audit_hook(on_event, NULL) < 0 ? -1 : px_imports_install();
}

int px_guard_arm(const struct px_run *armed)
{
    px_denial_arm(armed);
    px_files_arm(armed);
    px_imports_arm(armed);
    run = armed;
    return 0;
}

#endif
