/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the zygote: load, preload, enter the minimal root, drop to the run's id, and then answer each clone
 * request with a fork until the host closes the socket.
 *
 *   fd 3  the host's socket     closed first in every child
 *   fd 4  the extension         closed at once
 *   fd 5  /proc of the host     read while starting, then closed
 *
 * The zygote never runs a caller's code and never reads a byte that a child wrote. So a child that scans its
 * memory finds no data of other runs. The zygote does not fork while it has a second thread. */
#include "guest/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "guest/by_name.h"
#include "guest/display/display.h"
#include "guest/embedded_python.h"
#include "guest/guard/guard.h"
#include "guest/guard/open_files.h"
#include "guest/holes.h"
#include "guest/huge_pages.h"
#include "guest/reseed.h"
#include "guest/script.h"
#include "guest/thread_id.h"
#include "sandbox/landlock.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"
#include "sandbox/seccomp.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Writes the pending Python exception as "Type: message" and clears it. */
static void python_error(char *text, size_t size)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *name = type ? PyObject_GetAttrString(type, "__name__") : NULL;
    PyObject *message = value ? PyObject_Str(value) : NULL;
    PyObject *joined = name && message ? PyUnicode_FromFormat("%U: %U", name, message) : NULL;
    PyObject *bytes = joined ? PyUnicode_AsEncodedString(joined, "utf-8", "replace") : NULL;
    snprintf(text, size, "%s", bytes ? PyBytes_AsString(bytes) : "unknown error");
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(joined);
    Py_XDECREF(message);
    Py_XDECREF(name);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

/* Hides /proc while modules are preloaded. A module that looks there during its import, as threadpoolctl does, must
 * find the same as in a run: self/exe and two empty files. The zygote reads the host's /proc through its own
 * descriptor. */
static int hide_proc(const struct px_zygote *zygote, pyexec_error *error)
{
    if (!zygote->start.preload_bytes || px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE))
        return 0;
    px_auto_fd int tmpfs = px_tmpfs_new(65536, 8, "0755", MOUNT_ATTR_NOSUID);
    if (tmpfs < 0 || px_library_dirs_show_program(zygote, tmpfs) < 0 ||
        px_mount_restrict(tmpfs, MOUNT_ATTR_RDONLY, false) < 0 || px_attach(tmpfs, AT_FDCWD, "/proc") < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't hide /proc");
    return 0;
}

static int import_preloads(const struct px_zygote *zygote, const char *names, pyexec_error *error)
{
    if (hide_proc(zygote, error) < 0)
        return -1;
    struct px_zygote_loading loading = {.magic = PX_LAUNCH_MAGIC};
    const char *end = names + zygote->start.preload_bytes;
    for (const char *name = names; name < end; name += strlen(name) + 1, loading.index++) {
        if (px_send_fds(zygote->host, &loading, sizeof loading, NULL, 0) < 0)
            _exit(EXIT_SUCCESS);
        PyObject *module = PyImport_ImportModule(name);
        if (!module) {
            char text[512];
            python_error(text, sizeof text);
            px_error_set(error, PYEXEC_INVALID_POLICY, "preload_imports: '%s' can't be imported: %s", name, text);
            return px_error_hint(error, "Install it for this python_bin, remove it from "
                                        "preload_imports, or set isolate_site to false so that "
                                        "site-packages are seen.");
        }
        Py_DECREF(module);
    }
    return 0;
}

/* Hides the zygote's command line (sys.argv, sys.orig_argv). */
static int hide_start(void)
{
    PyObject *arguments = Py_BuildValue("[s]", "");
    PyObject *executable = PySys_GetObject("executable");
    PyObject *original = Py_BuildValue("[O]", executable ? executable : Py_None);
    int result =
        !arguments || !original || PySys_SetObject("argv", arguments) < 0 || PySys_SetObject("orig_argv", original) < 0
            ? -1
            : 0;
    Py_XDECREF(arguments);
    Py_XDECREF(original);
    return result;
}

/* Returns the number after `key` in a file of /proc/self, or 0. */
static uint64_t proc_number(const struct px_zygote *zygote, const char *file, const char *key)
{
    char text[4096];
    return px_read_small_file(zygote->proc, file, text, sizeof text) < 0 ? 0 : px_number_after(text, key, 0);
}

/* Calls gc.freeze(): the garbage collector then no longer writes to these objects. Its writes would copy their
 * pages in every child. */
static void freeze_objects(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *result = gc ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    Py_XDECREF(result);
    Py_XDECREF(gc);
    PyErr_Clear();
}

/* Does once what each run does, and leaves the memory of the zygote such that a child writes to few of its pages. */
static void warm_and_freeze(void)
{
    px_reseed_prepare();
    px_script_warm();
    freeze_objects();
    px_holes_fill();
}

/* When pyexec was started as root, the zygote began as the interpreter's owner, to read the interpreter's files.
 * This changes to the run's id. The capabilities in its own user namespace stay (capabilities(7), securebits). */
static int drop_ids(struct px_zygote *zygote, pyexec_error *error)
{
    if (!zygote->start.privileged)
        return 0;
    if (px_zygote_lacks(zygote, PX_LAYER_USER_NAMESPACE))
        return 0;
    if (prctl(PR_SET_SECUREBITS, 1 << 2 /* SECBIT_NO_SETUID_FIXUP */, 0, 0, 0) < 0 || setresgid(1, 1, 1) < 0 ||
        setresuid(1, 1, 1) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't drop to the run's user id");
    /* A change of ids clears this flag, and then /proc/self belongs to root (prctl(2), proc(5)). The zygote must still
     * be able to write self/timens_offsets. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    zygote->run_uid = 1;
    return 0;
}

/* Enters a time namespace, so that the clocks of children begin near 0 (time_namespaces(7)). */
static void enter_time_namespace(struct px_zygote *zygote)
{
    char text[96];
    struct timespec monotonic, boot;
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    snprintf(text, sizeof text, "monotonic -%lld 0\nboottime -%lld 0\n", (long long)monotonic.tv_sec,
             (long long)boot.tv_sec);
    px_auto_fd int fd = -1;
    if (unshare(CLONE_NEWTIME) == 0)
        fd = px_openat(zygote->proc, "self/timens_offsets", O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0 || px_write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        zygote->missing |= PX_LAYER_BIT(PX_LAYER_TIME_NAMESPACE);
}

static int enter_root(struct px_zygote *zygote, pyexec_error *error)
{
    struct px_root root = {0};
    int result = px_library_dirs_collect(zygote, &root, error);
    if (result == 0 && !px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE))
        result = px_root_enter(&root, error);
    px_root_done(&root);
    return result;
}

static int find_landlock(struct px_zygote *zygote, pyexec_error *error)
{
    zygote->landlock_abi = px_landlock_abi();
    if (zygote->landlock_abi > 0 || px_zygote_lacks(zygote, PX_LAYER_LANDLOCK))
        return 0;
    return px_layer_refuse(PX_LAYER_LANDLOCK, errno, zygote->start.allow_missing, &zygote->missing, error);
}

/* Prepares once what the first display of a run needs, for all runs that follow. */
static void prepare_displays(void)
{
    static bool ready;
    if (ready)
        return;
    ready = true;
    px_display_prepare_ahead();
    warm_and_freeze();
}

static int prepare_python(struct px_zygote *zygote, pyexec_error *error)
{
    bool shown = px_embedded_is_loaded(); /* a preloaded module has shown things */
    px_open_files_prepare(zygote->trees[zygote->stdlib_count] != NULL);
    if (px_guard_install((const char *const *)zygote->trees, zygote->stdlib_count) < 0 || px_script_prepare() < 0 ||
        hide_start() < 0) {
        char text[512];
        python_error(text, sizeof text);
        return px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "the guest can't prepare the interpreter: %s", text);
    }
    if (shown)
        prepare_displays();
    else
        warm_and_freeze();
    return 0;
}

/* Called before the preloads, because libraries that show things may be among them. */
static int prepare_display(pyexec_error *error)
{
    char text[512];
    if (px_display_prepare() == 0)
        return 0;
    python_error(text, sizeof text);
    return px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "the guest can't prepare displays: %s", text);
}

/* Installs the part of the filter that a zygote can work with; children add the rest (seccomp.h). */
static int enter_filter(struct px_zygote *zygote, pyexec_error *error)
{
    static const enum px_filter filters[] = {[PX_NETWORK_NONE] = PX_FILTER_ZYGOTE_OFFLINE,
                                             [PX_NETWORK_HOST] = PX_FILTER_ZYGOTE_ONLINE,
                                             [PX_NETWORK_NAMES] = PX_FILTER_ZYGOTE_NAMED};
    if (px_zygote_lacks(zygote, PX_LAYER_SECCOMP))
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && px_seccomp_enter(filters[zygote->start.network]) == 0)
        return 0;
    return px_layer_refuse(PX_LAYER_SECCOMP, errno, zygote->start.allow_missing, &zygote->missing, error);
}

/* When the machine has no more memory, the kernel's OOM killer should end a script and not the host (proc(5),
 * oom_score_adj). Children inherit the value, and lowering it needs a privilege that they do not have. */
static void offer_to_oom_killer(const struct px_zygote *zygote)
{
    px_auto_fd int fd = px_openat(zygote->proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
    /* A container may hide the file. Then the kernel decides only by size. */
    if (fd >= 0)
        (void)!px_write(fd, "1000", 4);
}

static int start(struct px_zygote *zygote, const char *preloads, pyexec_error *error)
{
    struct rlimit stack;
    getrlimit(RLIMIT_STACK, &stack);
    stack.rlim_cur = stack.rlim_max < (8u << 20) ? stack.rlim_max : (8u << 20);
    setrlimit(RLIMIT_STACK, &stack);
    offer_to_oom_killer(zygote);
    px_thread_id_find();
    if (prepare_display(error) < 0 || import_preloads(zygote, preloads, error) < 0 ||
        find_landlock(zygote, error) < 0 || enter_root(zygote, error) < 0 || drop_ids(zygote, error) < 0 ||
        prepare_python(zygote, error) < 0)
        return -1;
    if (!px_zygote_lacks(zygote, PX_LAYER_TIME_NAMESPACE))
        enter_time_namespace(zygote);
    if (proc_number(zygote, "self/status", "Threads:") != 1) {
        px_error_set(error, PYEXEC_INVALID_POLICY,
                     "preload_imports: the imported modules leave threads running, which a fork would lose");
        return px_error_hint(error, "Remove the module that starts threads when it is imported.");
    }
    if (zygote->start.preload_bytes) /* nothing is gained for the heap of the interpreter alone */
        px_huge_pages_collapse_heap(zygote->proc);
    return enter_filter(zygote, error);
}

static void report_ready(struct px_zygote *zygote, const pyexec_error *error)
{
    struct px_zygote_ready *ready = &zygote->ready;
    ready->magic = PX_LAUNCH_MAGIC;
    ready->missing = zygote->missing;
    ready->landlock_abi = zygote->landlock_abi;
    ready->error = *error;
    PyObject *hexversion = PySys_GetObject("hexversion");
    ready->python_version = hexversion ? (int32_t)(PyLong_AsLong(hexversion) >> 8) : 0;
    snprintf(ready->python_text, sizeof ready->python_text, "%s", Py_GetVersion());
    ready->mapped_bytes = proc_number(zygote, "self/status", "VmSize:") * 1024;
    ready->private_bytes = proc_number(zygote, "self/status", "RssAnon:") * 1024;
    zygote->pid_namespace = px_openat(zygote->proc, "self/ns/pid", O_RDONLY | O_CLOEXEC, 0);
    if (zygote->start.network == PX_NETWORK_NAMES)
        zygote->network_namespace = px_openat(zygote->proc, "self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    px_close_fd(&zygote->proc);
    px_close_fds(zygote->certificates, PX_COUNT(zygote->certificates));
    if (px_send_fds(zygote->host, ready, sizeof *ready, NULL, 0) < 0 || error->code != PYEXEC_OK)
        _exit(EXIT_SUCCESS);
}

/* Changes to the user id of the next child. So the child's user namespace and workspace belong to that id. */
static int take_slot(struct px_zygote *zygote, uint32_t slot)
{
    if (!zygote->start.privileged || px_zygote_lacks(zygote, PX_LAYER_USER_NAMESPACE))
        return 0;
    unsigned uid = 1 + (zygote->start.run_uid_count ? slot % zygote->start.run_uid_count : 0);
    if (uid == zygote->run_uid)
        return 0;
    if (setresuid(uid, uid, uid) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return -1;
    zygote->run_uid = uid;
    return 0;
}

static int make_workspace(const struct px_zygote *zygote, uint64_t bytes, pyexec_error *error)
{
    /* Without a user namespace the zygote has another user id than the run, which must be able to write. */
    const char *mode = px_zygote_lacks(zygote, PX_LAYER_USER_NAMESPACE) ? "0777" : "0700";
    /* An inode for each 4 KiB bounds the kernel's memory for empty files, with pages of any size. */
    int workspace =
        px_tmpfs_new(bytes, bytes / 4096 + 64, mode, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (workspace < 0 && px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE) && !px_errno_exhausted(errno)) {
        px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno,
                       "can't make the workspace: it needs the layer '%s', which is missing here",
                       px_layer_info(PX_LAYER_MOUNT_NAMESPACE)->name);
        return px_error_hint(error, "Run scripts without file access (--files none).");
    }
    if (workspace < 0)
        return px_error_exhausted(error, errno, "can't make the workspace");
    /* Needs Linux 5.14. On older kernels links are followed, but only inside the sandbox's own root. */
    px_mount_restrict(workspace, MOUNT_ATTR_NOSYMFOLLOW, false);
    return workspace;
}

static void answer(struct px_zygote *zygote, const struct px_clone_request *request, int *fds, size_t count)
{
    struct px_clone_reply reply = {.magic = PX_LAUNCH_MAGIC};
    int answered[PX_CLONE_FDS] = {-1, -1, -1};
    size_t answers = 0;
    int workspace = -1, listener = -1;
    bool by_name = zygote->start.network == PX_NETWORK_NAMES && request->op == PX_CLONE_RUN;
    px_auto_fd int cgroup = -1, family = -1, handover = -1;
    if (request->cgroup && count > 0) {
        count--;
        cgroup = TAKE_FD(fds[count]);
    }
    if (request->forkable && count > 1) {
        count -= 2;
        family = TAKE_FD(fds[count]);
        handover = TAKE_FD(fds[count + 1]);
    }
    if (take_slot(zygote, request->slot) < 0)
        px_error_errno(&reply.error, PYEXEC_INTERNAL, errno, "can't take the run's user id");
    else if (request->workspace == PX_WORKSPACE_NEW)
        workspace = make_workspace(zygote, request->workspace_bytes, &reply.error);
    else if (request->workspace == PX_WORKSPACE_GIVEN && count > 0)
        workspace = TAKE_FD(fds[count - 1]);
    int child_fds[7] = {fds[0], fds[1], fds[2], workspace, cgroup, family, handover};
    if (reply.error.code == PYEXEC_OK && by_name)
        px_by_name_enter(&listener, &reply.error);
    if (reply.error.code == PYEXEC_OK && request->op == PX_CLONE_RUN) {
        pid_t pid = 0;
        if (count < 3)
            px_error_set(&reply.error, PYEXEC_INTERNAL, "a clone request lacks descriptors");
        else if (px_child_clone(zygote, request, child_fds, &answered[0], &pid, &reply.error) == 0)
            answers = 1;
        reply.pid = pid;
    } else if (reply.error.code == PYEXEC_OK && request->op >= PX_CLONE_BASELINE) {
        px_baseline_run(zygote, request, fds, &reply);
    }
    if (reply.error.code == PYEXEC_OK && request->workspace == PX_WORKSPACE_NEW)
        answered[answers++] = TAKE_FD(workspace);
    if (by_name)
        px_by_name_leave(zygote->network_namespace);
    if (reply.error.code == PYEXEC_OK && by_name)
        answered[answers++] = TAKE_FD(listener);
    px_close_fd(&listener);
    px_close_fds(fds, PX_FDS_MAX);
    if (px_send_fds(zygote->host, &reply, sizeof reply, answered, answers) < 0)
        _exit(EXIT_SUCCESS);
    px_close_fds(answered, answers);
    px_close_fd(&workspace);
}

void px_zygote_main(void)
{
    static struct px_zygote zygote = {.host = PX_ZYGOTE_FD,
                                      .proc = PX_ZYGOTE_PROC_FD,
                                      .pid_namespace = -1,
                                      .network_namespace = -1,
                                      .certificates = {-1, -1}};
    static char preloads[PX_ZYGOTE_PRELOAD_MAX];
    pyexec_error error = {0};
    close(PX_ZYGOTE_EXTENSION_FD);
    fcntl(zygote.host, F_SETFD, FD_CLOEXEC);
    fcntl(zygote.proc, F_SETFD, FD_CLOEXEC);
    size_t certificates;
    ssize_t n = px_receive_fds(zygote.host, &zygote.start, sizeof zygote.start, zygote.certificates,
                               PX_COUNT(zygote.certificates), &certificates);
    if (n != sizeof zygote.start || zygote.start.magic != PX_LAUNCH_MAGIC ||
        zygote.start.preload_bytes >= sizeof preloads)
        _exit(EXIT_FAILURE);
    if (zygote.start.preload_bytes &&
        px_receive_fds(zygote.host, preloads, sizeof preloads, NULL, 0, NULL) != (ssize_t)zygote.start.preload_bytes)
        _exit(EXIT_FAILURE);
    zygote.missing = zygote.start.missing;
    start(&zygote, preloads, &error);
    report_ready(&zygote, &error);
    dup2(0, 2);
    for (;;) {
        struct px_clone_request request;
        int fds[PX_FDS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1};
        size_t count;
        n = px_receive_fds(zygote.host, &request, sizeof request, fds, PX_FDS_MAX, &count);
        if (n <= 0)
            _exit(EXIT_SUCCESS);
        if (n != sizeof request || request.magic != PX_LAUNCH_MAGIC)
            _exit(EXIT_FAILURE);
        answer(&zygote, &request, fds, count);
        if (request.displays)
            prepare_displays();
    }
}
