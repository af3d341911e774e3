/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's entry points, and the table of the audit events that it checks. */
#include "guest/guard/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "guest/guard/denial.h"
#include "guest/guard/guard_code.h"
#include "guest/guard/guard_files.h"
#include "guest/guard/guard_imports.h"
#include "guest/guard/open_files.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/frames.h"
#include "protocol/egress.h"

#define DETAIL_ITEMS_MAX 50

#ifdef PX_WITHOUT_GUARD

void px_guard_explain(PyObject *exception, int32_t line)
{
    (void)exception;
    (void)line;
}

int px_guard_install(const char *const *trees, size_t stdlib_count)
{
    px_frames_prepare(trees, stdlib_count);
    return 0;
}

int px_guard_arm(const struct px_script *run)
{
    px_denial_arm(run);
    px_frames_arm(run->workspace);
    return 0;
}

#else

static const struct px_script *run;

enum event_kind {
    OPEN,
    READ,
    WRITE,
    WRITE_TWO,
    SYMLINK,
    DATABASE,
    SOCKET_NEW,
    SOCKET,
    SOCKET_SELF,
    PROCESS,
    PROCESS_SECOND,
    MAPPING,
    COMPILE,
    CODE_NEW,
    CODE_USED,
    CODE_SET,
    MARSHAL,
    IMPORT,
    LIBRARY
};

/* The events that are checked (https://docs.python.org/3/library/audit_events.html). shutil, tempfile, glob and
 * pathlib raise these events too, because they call the same functions. */
static const struct {
    const char *event;
    enum event_kind kind;
} events[] = {
    {"code.__new__", CODE_NEW},
    {"compile", COMPILE},
    {"ctypes.dlopen", LIBRARY},
    {"exec", CODE_USED},
    {"function.__new__", CODE_USED},
    {"import", IMPORT},
    {"marshal.load", MARSHAL},
    {"marshal.loads", MARSHAL},
    {"mmap.__new__", MAPPING},
    {"object.__setattr__", CODE_SET},
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
    {"os.spawn", PROCESS_SECOND},
    {"os.symlink", SYMLINK},
    {"os.system", PROCESS},
    {"os.truncate", WRITE},
    {"os.utime", WRITE},
    {"pty.spawn", PROCESS},
    {"socket.__new__", SOCKET_NEW},
    {"socket.bind", SOCKET_SELF},
    {"socket.connect", SOCKET_SELF},
    {"socket.getaddrinfo", SOCKET},
    {"socket.gethostbyaddr", SOCKET},
    {"socket.gethostbyname", SOCKET},
    {"socket.getnameinfo", SOCKET},
    {"sqlite3.connect", DATABASE},
    {"subprocess.Popen", PROCESS_SECOND},
};

static PyObject *item(PyObject *arguments, Py_ssize_t index)
{
    return PyTuple_Check(arguments) && PyTuple_Size(arguments) > index ? PyTuple_GetItem(arguments, index) : NULL;
}

/* True if taking the object's repr runs no code of the script. */
static bool is_plain(PyObject *object, int depth)
{
    if (object == Py_None || PyUnicode_CheckExact(object) || PyBytes_CheckExact(object) || PyLong_CheckExact(object))
        return true;
    bool list = PyList_CheckExact(object);
    if (depth > 0 || (!list && !PyTuple_CheckExact(object)))
        return false;
    Py_ssize_t size = list ? PyList_Size(object) : PyTuple_Size(object);
    if (size > DETAIL_ITEMS_MAX)
        return false;
    for (Py_ssize_t i = 0; i < size; i++)
        if (!is_plain(list ? PyList_GetItem(object, i) : PyTuple_GetItem(object, i), depth + 1))
            return false;
    return true;
}

static int refuse(enum px_denial_layer layer, const char *event, PyObject *detail, bool report, const char *phrase,
                  const char *hint)
{
    if (report) {
        struct px_buffer px_auto_buffer what = {0};
        px_buffer_add_string(&what, event);
        px_auto_object PyObject *text =
            detail && is_plain(detail, 0) ? px_pyobject_convert(detail, PyObject_Repr) : NULL;
        if (text) {
            px_buffer_add_byte(&what, ' ');
            px_pyobject_text(&what, text, 180);
        }
        px_guard_deny(layer, px_buffer_shown(&what), hint);
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
        px_pyobject_text(&text, mode, 16);
        writes |= strpbrk(px_buffer_shown(&text), "wax+") != NULL;
    }
    return px_guard_files_check("open", item(arguments, 0), writes);
}

/* The frames of socket.py on the stack, counted from the innermost one. */
struct socket_frames {
    int depth;
    bool probe; /* getfqdn() is on the stack: it looks names up, and a refusal does it no harm */
};

static bool count_socket_frames(const struct px_frame *frame, void *data)
{
    struct socket_frames *frames = data;
    if (frame->owner != PX_OWNER_STDLIB || !strstr(frame->filename, "/socket.py"))
        return false;
    frames->depth++;
    frames->probe |= strcmp(frame->function, "getfqdn") == 0;
    return true;
}

static int refuse_socket(const char *event, PyObject *detail, bool report)
{
    return refuse(PX_DENIAL_NETWORK, event, detail, report, "network disabled",
                  "Scripts have no network here (policy field disable_networking): put the data "
                  "into the code, stdin or files of the request.");
}

/* A pair of AF_UNIX sockets is not a network, and asyncio needs one. The event looks the same as that of a socket
 * object for an existing descriptor. socket.socketpair, fromfd, dup and accept make such objects: they call the
 * constructor from the same file, or without a family. The kernel refuses all other sockets too. */
static int check_new_socket(const char *event, PyObject *arguments)
{
    PyObject *family = item(arguments, 1);
    long number = family && PyLong_Check(family) ? PyLong_AsLong(family) : 0;
    PyErr_Clear();
    struct socket_frames frames = {0, false};
    if (number == AF_UNIX)
        px_frames_walk(count_socket_frames, &frames);
    return number == -1 || frames.depth > 1 ? 0 : refuse_socket(event, NULL, true);
}

/* True for the proxy's address, as the host of a look-up or as (host, port) of a connection. */
static bool is_proxy(PyObject *detail)
{
    PyObject *host = PyTuple_Check(detail) ? item(detail, 0) : detail, *port = item(detail, 1);
    bool same =
        host == Py_None || (host && PyUnicode_Check(host) && PyUnicode_CompareWithASCIIString(host, "127.0.0.1") == 0);
    bool other_port = port && PyLong_Check(port) && PyLong_AsLong(port) != PX_EGRESS_PORT;
    PyErr_Clear();
    return same && !other_port;
}

static int check_socket(const char *event, PyObject *detail, bool by_name)
{
    struct socket_frames frames = {0, false};
    if (by_name && detail && is_proxy(detail) && strcmp(event, "socket.bind") != 0)
        return 0;
    px_frames_walk(count_socket_frames, &frames);
    if (!by_name)
        return refuse_socket(event, detail, !frames.probe);
    return refuse(
        PX_DENIAL_NETWORK, event, detail, !frames.probe, "no direct connections",
        "This script reaches only the hosts of allowed_hosts, and those over a proxy: use an HTTP client that "
        "follows the variables HTTPS_PROXY and HTTP_PROXY, such as urllib.request, requests or httpx; aiohttp does "
        "with ClientSession(trust_env=True).");
}

/* True for frames of standard modules that try to run a program and work without it. Libraries outside of the
 * standard library also act without the script's wish. */
static bool is_probe(const struct px_frame *frame, void *data)
{
    static const char *const modules[] = {"/platform.py", "/uuid.py", "/ctypes/util.py", "/locale.py",
                                          "/webbrowser.py"};
    for (size_t i = 0; i < PX_COUNT(modules); i++)
        if (strstr(frame->filename, modules[i]))
            *(bool *)data = true;
    if (frame->owner == PX_OWNER_SITE)
        *(bool *)data = true;
    return frame->owner != PX_OWNER_SCRIPT && !*(bool *)data;
}

static int check_process(const char *event, PyObject *detail)
{
    bool probe = false;
    px_frames_walk(is_probe, &probe);
    return refuse(PX_DENIAL_PROCESSES, event, detail, !probe, "processes are not allowed",
                  "A script can't start programs or fork: do it in Python in this process.");
}

/* The line where the script last asked for memory without a file. The event does not say whether the memory is
 * shared, which only the kernel refuses. */
static int32_t mapping_line;

static void note_mapping(PyObject *fd)
{
    long number = fd && PyLong_Check(fd) ? PyLong_AsLong(fd) : 0;
    PyErr_Clear();
    if (number == -1)
        mapping_line = px_guard_script_line();
}

void px_guard_explain(PyObject *exception, int32_t line)
{
    if (!run || !line || line != mapping_line || !PyErr_GivenExceptionMatches(exception, PyExc_PermissionError))
        return;
    px_auto_object PyObject *args = px_pyobject_attribute(exception, px_name.args);
    PyObject *number = args ? item(args, 0) : NULL;
    bool kernels = number && PyLong_Check(number) && PyLong_AsLong(number) == EPERM;
    PyErr_Clear();
    if (!kernels) /* a PermissionError of the guard has no errno */
        return;
    px_guard_deny_at(PX_DENIAL_SYSCALL, "mmap MAP_SHARED without a file",
                     "Memory that is shared without a file is not available: no limit would count "
                     "it. Use mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), or a "
                     "bytearray.",
                     line);
}

static int check(size_t i, PyObject *arguments)
{
    const char *event = events[i].event;
    bool network = run->flags & PX_RUN_FLAG_NETWORK, by_name = run->flags & PX_RUN_FLAG_BY_NAME;
    switch (events[i].kind) {
    case OPEN:
        return check_open(arguments);
    case READ:
        return px_guard_files_check(event, item(arguments, 0), false);
    case WRITE:
        return px_guard_files_check(event, item(arguments, 0), true);
    case WRITE_TWO:
        return px_guard_files_check(event, item(arguments, 0), true) < 0
                   ? -1
                   : px_guard_files_check(event, item(arguments, 1), true);
    case SYMLINK:
        return px_guard_files_check(event, item(arguments, 1), true);
    case DATABASE:
        return px_guard_files_check(event, item(arguments, 0), run->files == PX_FILES_FULL);
    case MAPPING:
        note_mapping(item(arguments, 0));
        return 0;
    case COMPILE:
    case CODE_NEW:
        px_code_note_name(item(arguments, 1));
        return 0;
    case CODE_USED:
        px_code_note_object(item(arguments, 0));
        return 0;
    case CODE_SET:
        px_code_note_object(item(arguments, 2));
        return 0;
    case MARSHAL:
        return px_code_check_marshal(event, item(arguments, 0));
    case IMPORT:
        return px_code_check_extension(item(arguments, 0), item(arguments, 1));
    case LIBRARY:
        return px_code_check_library(item(arguments, 0));
    case SOCKET_NEW:
        return network || by_name ? 0 : check_new_socket(event, arguments);
    case SOCKET:
        return network ? 0 : check_socket(event, item(arguments, 0), by_name);
    case SOCKET_SELF:
        return network ? 0 : check_socket(event, item(arguments, 1), by_name);
    case PROCESS_SECOND:
        return check_process(event, item(arguments, 1));
    default:
        return check_process(event, item(arguments, 0));
    }
}

/* The checks themselves raise none of these events, so they need not be switched off during a check. The only code
 * of a script that a check may run is __fspath__, and its events are checked like all others. */
static int on_event(const char *event, PyObject *arguments, void *data)
{
    (void)data;
    if (!run || !strchr("cefimops", event[0]))
        return 0;
    for (size_t i = 0; i < PX_COUNT(events); i++)
        if (strcmp(events[i].event, event) == 0)
            return check(i, arguments);
    return 0;
}

int px_guard_install(const char *const *trees, size_t stdlib_count)
{
    px_frames_prepare(trees, stdlib_count);
    if (!px_python.add_audit_hook) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter has no PySys_AddAuditHook");
        return -1;
    }
    return px_python.add_audit_hook(on_event, NULL) < 0 || px_code_install() < 0 ? -1 : px_imports_install();
}

int px_guard_arm(const struct px_script *armed)
{
    px_denial_arm(armed);
    px_frames_arm(armed->workspace);
    px_guard_files_arm(armed);
    px_imports_arm(armed);
    px_open_files_arm(armed);
    mapping_line = 0;
    run = armed;
    return 0;
}

#endif
