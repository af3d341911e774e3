/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guard/guard_files.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "guest/guard/guard.h"
#include "guest/guard/guard_imports.h"
#include "guest/guard/open_files.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/frames.h"

static const struct px_script *run;

void px_guard_files_arm(const struct px_script *armed)
{
    run = armed;
}

/* Parts of file names of library code that opens its own data files. */
static const char *const own_data[] = {
    "/zoneinfo/", "/importlib/", "/ssl.py", "/mimetypes.py", "/encodings/", "/sysconfig.py",
};

/* Standard modules that look for files by themselves and work without them. Their access is refused, but not
 * reported as an act of the script. */
static const char *const probing[] = {
    "/linecache.py", "/traceback.py", "/uuid.py",     "/platform.py",   "/ctypes/util.py", "/locale.py",
    "/gettext.py",   "/getpass.py",   "/tempfile.py", "/webbrowser.py", "/tokenize.py",    "/warnings.py",
};

static bool one_of(const char *const *parts, size_t count, const char *filename)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(filename, parts[i]))
            return true;
    return false;
}

/* For which code a file is opened. FOR_NOBODY: no code of the script is on the stack, for example when the
 * interpreter prints the error that ended a thread, or in a library's own thread. */
enum purpose { FOR_SCRIPT, FOR_PROBE, FOR_LIBRARY, FOR_IMPORT, FOR_NOBODY };

struct judgement {
    enum purpose purpose;
    bool probe, script;
};

/* Visits the frames from the innermost one outwards, to find out whether the access is part of an import, reads a
 * library's own data, or is made for the script through the standard library's file functions. */
static bool judge(const struct px_frame *frame, void *data)
{
    struct judgement *judgement = data;
    switch (frame->owner) {
    case PX_OWNER_NONE:
        return true;
    case PX_OWNER_SCRIPT:
        judgement->script = true;
        if (judgement->purpose == FOR_SCRIPT && judgement->probe)
            judgement->purpose = FOR_PROBE;
        return false;
    case PX_OWNER_SITE:
        /* A library of site-packages acts for itself, unless one of its callers is an import. */
        if (judgement->purpose == FOR_SCRIPT)
            judgement->purpose = FOR_LIBRARY;
        return true;
    default:
        if (strncmp(frame->filename, "<frozen importlib", 17) == 0 &&
            (strcmp(frame->function, "_find_and_load") == 0 || strcmp(frame->function, "_find_spec") == 0)) {
            judgement->purpose = FOR_IMPORT;
            return false;
        }
        if (one_of(own_data, PX_COUNT(own_data), frame->filename) && frame->filename[0] != '<') {
            judgement->purpose = FOR_LIBRARY;
            return true;
        }
        judgement->probe |= one_of(probing, PX_COUNT(probing), frame->filename);
        return true;
    }
}

static enum purpose find_purpose(void)
{
    struct judgement judgement = {FOR_SCRIPT, false, false};
    px_frames_walk(judge, &judgement);
    if (judgement.purpose == FOR_SCRIPT && !judgement.script)
        return judgement.probe ? FOR_PROBE : FOR_NOBODY;
    return judgement.purpose;
}

/* Resolves all links of the path. Trailing parts that do not exist stay as they are, unless one of them is "..".
 * The result is "" when the path can't be resolved. */
static void resolve(const char *path, char *resolved)
{
    char existing[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof existing) {
        resolved[0] = '\0';
        return;
    }
    memcpy(existing, path, length + 1);
    while (!realpath(length ? existing : path[0] == '/' ? "/" : ".", resolved)) {
        if (!length) {
            /* The working directory was deleted. Nothing can exist below it, and the kernel's error says so better
             * than the guard could. */
            bool gone = errno == ENOENT && path[0] != '/' && !px_path_has_parent(path, strlen(path));
            int fits = snprintf(resolved, PATH_MAX, "%s/%s", run->workspace, path);
            if (!gone || fits >= PATH_MAX)
                resolved[0] = '\0';
            return;
        }
        while (length && existing[length - 1] == '/')
            length--;
        while (length && existing[length - 1] != '/')
            length--;
        existing[length] = '\0';
    }
    const char *rest = path + length;
    rest += strspn(rest, "/");
    if (px_path_has_parent(rest, strlen(rest)) || strlen(resolved) + strlen(rest) + 2 > PATH_MAX) {
        if (*rest)
            resolved[0] = '\0';
        return;
    }
    if (*rest && strcmp(resolved, "/") != 0)
        strcat(resolved, "/");
    strcat(resolved, rest);
}

static int refuse(const char *event, const char *path, bool report, const char *phrase, const char *hint)
{
    /* A path can be any bytes, but the denial and the exception need text. */
    struct px_buffer px_auto_buffer shown = {0};
    px_utf8_repair(&shown, path, px_utf8_truncate(path, strlen(path), 150));
    if (report) {
        struct px_buffer px_auto_buffer what = {0};
        px_buffer_printf(&what, "%s %s", event, px_buffer_shown(&shown));
        px_guard_deny(PX_DENIAL_FILES, px_buffer_shown(&what), hint);
    }
    PyErr_Format(PyExc_PermissionError, "%s: '%s'. %s", phrase, px_buffer_shown(&shown), hint);
    return -1;
}

/* True if the script should be told about the refusal, and false for attempts that other code makes by itself. */
static bool worth_reporting(enum purpose purpose, const char *path, const char *resolved, bool writes)
{
    /* To print lines of "<cell>" the interpreter looks for a file of this name, also in each library folder. */
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    if (last[0] == '<' && last[strlen(last) - 1] == '>')
        return false;
    /* Files about the machine, such as the number of processors. */
    bool machine = px_path_below(resolved, "/proc") || px_path_below(resolved, "/sys");
    switch (purpose) {
    case FOR_SCRIPT:
        return true;
    case FOR_LIBRARY:
        return writes || !machine;
    case FOR_NOBODY:
        return writes || !(machine || px_frames_in_trees(resolved));
    default:
        return false;
    }
}

/* A path of another sandbox, such as /mnt/data/NAME, may mean a file that exists here under NAME. */
static int refuse_outside(const char *event, const char *path, bool report)
{
    char hint[PATH_MAX + 400];
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    bool here = *last && strlen(last) < 150 && !strchr(last, '\'') && px_utf8_valid(last, strlen(last), NULL) &&
                strcmp(last, "..") != 0 && access(last, F_OK) == 0;
    int length = snprintf(hint, sizeof hint,
                          "Only files inside the working directory %s can be used; give "
                          "a path relative to it",
                          run->workspace);
    snprintf(hint + length, sizeof hint - (size_t)length, here ? ", as in open('%s')." : ".", last);
    return refuse(event, path, report, "outside sandbox", hint);
}

static int check_path(const char *event, const char *path, bool writes)
{
    enum purpose purpose = find_purpose();
    if (purpose == FOR_IMPORT && !writes)
        return 0;
    char resolved[PATH_MAX];
    resolve(path, resolved);
    /* This file is empty, and threadpoolctl reads it (library_dirs.c). */
    if (purpose == FOR_LIBRARY && !writes && strcmp(resolved, "/proc/self/maps") == 0)
        return 0;
    if (purpose == FOR_LIBRARY && !writes && px_frames_in_trees(resolved)) {
        px_open_files_library(resolved);
        return 0;
    }
    px_open_files_script();
    /* The C code of zoneinfo reads these files, and it has no frame that would show this. */
    if (!writes && px_path_below(resolved, "/usr/share/zoneinfo"))
        return 0;
    bool report = worth_reporting(purpose, path, resolved, writes);
    if (run->files == PX_FILES_NONE)
        return refuse(event, path, report, "open() disabled",
                      px_imports_permit("io")
                          ? "This policy gives the script no file access (policy field disable_open): keep "
                            "data in variables or io.StringIO, and give results back by print() or as the "
                            "last expression."
                          : "This policy gives the script no file access (policy field disable_open): keep "
                            "data in variables, and give results back by print() or as the last "
                            "expression.");
    if (strcmp(resolved, "/dev/null") == 0)
        return 0;
    if (!*run->workspace || !px_path_below(resolved, run->workspace))
        return refuse_outside(event, path, report);
    if (writes && run->files == PX_FILES_READ)
        return refuse(event, path, report, "write forbidden",
                      "This policy allows reading only (policy field allow_readonly_open): give "
                      "results back by print() or as the last expression.");
    return 0;
}

int px_guard_files_check(const char *event, PyObject *path, bool writes)
{
    if (!path || path == Py_None)
        return run->files == PX_FILES_NONE || !*run->workspace ? check_path(event, ".", writes) : 0;
    if (PyLong_Check(path))
        return 0;
    /* This may run code of the script. Its events are checked as usual, and its exceptions are the script's. */
    px_auto_object PyObject *plain = PyOS_FSPath(path);
    if (!plain && !PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    px_auto_object PyObject *bytes = NULL;
    if (plain && PyBytes_Check(plain)) {
        bytes = plain;
        Py_INCREF(bytes);
    } else if (plain && PyUnicode_Check(plain)) {
        bytes = PyUnicode_EncodeFSDefault(plain);
    }
    if (!bytes) {
        /* The object is not a path, and the real function will say so. */
        PyErr_Clear();
        return 0;
    }
    const char *text = PyBytes_AsString(bytes);
    if (strncmp(event, "sqlite3.", 8) == 0) {
        if (!*text || strcmp(text, ":memory:") == 0 || strncmp(text, "file::memory:", 13) == 0)
            return 0;
        char *file = strdup(strncmp(text, "file:", 5) == 0 ? text + 5 : text);
        if (file)
            file[strcspn(file, "?")] = '\0';
        int result = file ? check_path(event, file, writes) : 0;
        free(file);
        return result;
    }
    return check_path(event, text, writes);
}
