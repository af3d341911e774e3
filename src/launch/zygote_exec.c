/* SPDX-License-Identifier: Apache-2.0 */
/* A process gets these before it becomes a zygote: the whole file tree read-only, a /dev of five nodes, its own
 * host name, no inherited descriptor, and an environment with no variable of the caller. It runs the operator's
 * interpreter and preloads, and never a caller's code. */
#include "launch/zygote_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/python_versions.h"
#include "base/retry.h"
#include "protocol/egress.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"

#define ENVIRONMENT_MAX 48
#define PX_PROXY_URL "http://127.0.0.1:" PX_TEXT(PX_EGRESS_PORT)

/* Runs in the interpreter before anything else. It loads the extension by its descriptor, so that the process
 * keeps no path of the host, and never returns. The extension needs the C API of CPython, and a zygote of a free-threaded build
 * could not be forked safely. */
/* clang-format off */
#define OLDEST PX_TEXT(PX_PYTHON_OLDEST_MINOR)
static const char bootstrap[] =
    "import sys\n"
    "name, version = sys.implementation.name, '%d.%d' % sys.version_info[:2]\n"
    "why = ''\n"
    "if name != 'cpython': why = name + ' for Python ' + version\n"
    "elif sys.version_info < (3, " OLDEST "): why = 'CPython %s, older than 3." OLDEST "' % version\n"
    "elif 't' in getattr(sys, 'abiflags', ''): why = 'a free-threaded CPython ' + version\n"
    "if why:\n"
    "    sys.stderr.write(why)\n"
    "    sys.exit(" PX_TEXT(PX_ZYGOTE_EXIT_UNSUPPORTED) ")\n"
    "import _imp\n"
    "class S: name = 'pyexec_guest'; origin = '/proc/self/fd/4'; loader = None; submodule_search_locations = None\n"
    "m = _imp.create_dynamic(S); _imp.exec_dynamic(m); m.zygote()\n";
/* clang-format on */

/* Says what failed and ends with this exit status. When the machine has no more of a resource, the status tells
 * the errno instead. */
static void end(const char *what, int exit_status)
{
    int saved = errno;
    dprintf(2, "%s: %s", what, strerrordesc_np(saved));
    _exit(px_errno_exhausted(saved) ? PX_ZYGOTE_EXIT_EXHAUSTED + saved : exit_status);
}

static void die(const char *what)
{
    end(what, PX_ZYGOTE_EXIT_SETUP);
}

/* Reports a layer that this container or kernel refuses. The host names the remedy, or starts again without the
 * layer. */
static void refused(enum px_layer layer, const char *what)
{
    end(what, PX_ZYGOTE_EXIT_LAYER + (int)layer);
}

/* Mounts a /dev with only these nodes. When root started pyexec, a zygote that loads has the id of the
 * interpreter's owner, which is usually the owner of the host's device nodes. */
static void minimal_dev(void)
{
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom"};
    int fds[PX_COUNT(nodes)];
    char path[32];
    for (size_t i = 0; i < PX_COUNT(nodes); i++) {
        snprintf(path, sizeof path, "/dev/%s", nodes[i]);
        fds[i] = px_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
    }
    px_auto_fd int tmpfs = px_tmpfs_new(65536, 16, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (tmpfs < 0 || px_attach(tmpfs, AT_FDCWD, "/dev") < 0)
        refused(PX_LAYER_MOUNT_NAMESPACE, "can't mount a private /dev");
    for (size_t i = 0; i < PX_COUNT(nodes); i++) {
        snprintf(path, sizeof path, "/dev/%s", nodes[i]);
        px_auto_fd int file = px_open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fds[i] >= 0 && (file < 0 || px_attach(fds[i], AT_FDCWD, path) < 0))
            refused(PX_LAYER_MOUNT_NAMESPACE, path);
        px_close_fd(&fds[i]);
    }
}

static void private_tree(void)
{
    if (px_mount_propagation(MS_PRIVATE) < 0)
        refused(PX_LAYER_MOUNT_NAMESPACE, "can't make the mounts private");
    minimal_dev();
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    if (px_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr) < 0)
        refused(PX_LAYER_MOUNT_NAMESPACE, "can't make the mounts read-only");
}

/* At exec, the default size of thread stacks is taken from the soft limit (pthread_create(3)). With 1 MiB, 16
 * threads fit into a small address space. The guest raises the limit of the main thread again. */
static void limit_stack(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_STACK, &limit);
}

static void move_to(int fd, int number)
{
    if (fd == number)
        fcntl(fd, F_SETFD, 0);
    else if (dup2(fd, number) < 0)
        die("can't place a descriptor");
}

/* Puts NAME=VALUE for each name at the end of the environment. */
static void add_variables(char *environment[ENVIRONMENT_MAX], const char *const *names, size_t count, const char *value)
{
    static char texts[ENVIRONMENT_MAX][96];
    size_t at = 0;
    while (environment[at])
        at++;
    for (size_t i = 0; i < count && at < ENVIRONMENT_MAX - 1; i++, at++) {
        snprintf(texts[at], sizeof texts[at], "%s=%s", names[i], value);
        environment[at] = texts[at];
    }
}

/* What clients of HTTP and TLS read. */
static void add_proxy(char *environment[ENVIRONMENT_MAX])
{
    static const char *const urls[] = {PX_PROXY_URL_VARIABLES}, *const files[] = {PX_PROXY_CA_VARIABLES},
                             *const none[] = {"NO_PROXY", "no_proxy"};
    add_variables(environment, urls, PX_COUNT(urls), PX_PROXY_URL);
    add_variables(environment, none, PX_COUNT(none), "");
    add_variables(environment, files, PX_COUNT(files), PX_CA_FILE);
}

static void exec_python(const struct px_launch_zygote *request)
{
    char *environment[ENVIRONMENT_MAX] = {
        /* The import of numpy or pandas must not start threads, because the zygote forks only while it has one
         * thread. */
        "OMP_NUM_THREADS=1",
        "OPENBLAS_NUM_THREADS=1",
        "MKL_NUM_THREADS=1",
        "NUMEXPR_NUM_THREADS=1",
        "NUMEXPR_MAX_THREADS=1",
        /* joblib would start processes, and prints a long warning when it can't. */
        "JOBLIB_MULTIPROCESSING=0",
        "LOKY_MAX_CPU_COUNT=1",
        /* Without this, malloc makes an arena for each thread, which takes 64 MiB of address space (mallopt(3)). */
        "MALLOC_ARENA_MAX=2",
        "LANG=C.UTF-8",
        "PATH=/usr/bin:/bin",
        "HOME=/",
        "USER=sandbox",
        "MPLBACKEND=module://pyexec_matplotlib",
    };
    if (request->network == PX_NETWORK_NAMES)
        add_proxy(environment);
    char python[PX_PATH_MAX];
    snprintf(python, sizeof python, "%s", request->python);
    char *arguments[16];
    size_t n = 0;
    arguments[n++] = python;
    arguments[n++] = "-I";
    if (request->isolate_site)
        arguments[n++] = "-S";
    arguments[n++] = "-B";
    arguments[n++] = "-X";
    arguments[n++] = "utf8";
    arguments[n++] = "-c";
    arguments[n++] = (char *)(uintptr_t)bootstrap;
    arguments[n] = NULL;
    execve(python, arguments, environment);
    end(python, PX_ZYGOTE_EXIT_PYTHON);
}

static void become_zygote(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, int socket,
                          int log, px_layers missing)
{
    bool mounts = !(missing & PX_LAYER_BIT(PX_LAYER_MOUNT_NAMESPACE));
    /* This is a separate mount, because the whole tree is made read-only below. */
    int proc = mounts ? px_open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | AT_RECURSIVE)
                      : px_open("/proc", O_PATH | O_DIRECTORY, 0);
    /* First moves the descriptors above the numbers that they get at the end. */
    int socket_high = fcntl(socket, F_DUPFD, 64), proc_high = fcntl(proc, F_DUPFD, 64);
    int extension_high = fcntl(supervisor->extensions[request->libc], F_DUPFD, 64);
    int null_fd = px_open("/dev/null", O_RDWR, 0);
    move_to(log, 2);
    if (socket_high < 0 || extension_high < 0 || proc_high < 0 || null_fd < 0)
        die("can't prepare descriptors");
    if (null_fd != 0)
        move_to(null_fd, 0);
    move_to(0, 1);
    move_to(socket_high, PX_ZYGOTE_FD);
    move_to(extension_high, PX_ZYGOTE_EXTENSION_FD);
    move_to(proc_high, PX_ZYGOTE_PROC_FD);
    syscall(SYS_close_range, PX_ZYGOTE_PROC_FD + 1, ~0U, 0);

    /* A service manager sends its signal to every process of the service (systemd.kill(5), control-group). The
     * zygote must end only when the host says so, so it blocks these signals. A child unblocks them for its
     * script. */
    sigset_t blocked;
    px_launch_end_signals(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (!(missing & PX_LAYER_BIT(PX_LAYER_UTS_NAMESPACE)) &&
        (sethostname("sandbox", 7) < 0 || setdomainname("", 0) < 0))
        refused(PX_LAYER_UTS_NAMESPACE, "can't set the host name");
    if (mounts)
        private_tree();
    if (supervisor->privileged && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        die("can't take the interpreter owner's id");
    /* Only needed without a PID namespace. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    limit_stack();
    if (chdir("/") < 0)
        die("/");
    exec_python(request);
}

static int no_guest(const struct px_launch_zygote *request, pyexec_error *error)
{
    static const char *const names[] = PX_LIBC_NAMES, *const guests[] = PX_LIBC_GUESTS;
    size_t libc = request->libc < PX_LIBC_COUNT ? request->libc : PX_LIBC_GLIBC;
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED,
                 "python_bin: '%s' is a program for %s, and pyexec's extension for %s is not installed",
                 request->python, names[libc], names[libc]);
    return px_error_hint(
        error, "Put %s of the same version of pyexec beside pyexec-launch, or set python_bin to a CPython for %s.",
        guests[libc], names[!libc]);
}

pid_t px_zygote_exec(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, int socket,
                     int log, px_layers *missing, int *ret_pidfd, pyexec_error *error)
{
    *missing = request->missing;
    if (request->libc >= PX_LIBC_COUNT || supervisor->extensions[request->libc] < 0)
        return no_guest(request, error);
    px_layers without = supervisor->missing | request->missing;
    uint64_t flags = CLONE_NEWIPC;
    if (!(without & PX_LAYER_BIT(PX_LAYER_UTS_NAMESPACE)))
        flags |= CLONE_NEWUTS;
    bool host_network = request->network == PX_NETWORK_HOST;
    if (!host_network)
        flags |= CLONE_NEWNET;
    if (!(without & PX_LAYER_BIT(PX_LAYER_MOUNT_NAMESPACE)))
        flags |= CLONE_NEWNS;
    if (supervisor->missing & PX_LAYER_BIT(PX_LAYER_USER_NAMESPACE) && !supervisor->privileged) {
        /* Each of these layers may be missing only if allow_missing names it. */
        static const enum px_layer lost[] = {PX_LAYER_IPC_NAMESPACE, PX_LAYER_UTS_NAMESPACE,
                                             PX_LAYER_NETWORK_NAMESPACE};
        flags = 0;
        for (size_t i = 0; i < PX_COUNT(lost) - (host_network ? 1 : 0); i++)
            if (px_layer_refuse(lost[i], EPERM, supervisor->allow_missing, missing, error) < 0)
                return -1;
    }
    pid_t pid = px_clone_namespaces(flags, -1, supervisor->allow_missing, missing, ret_pidfd, error);
    if (pid == 0)
        become_zygote(supervisor, request, socket, log, *missing | supervisor->missing);
    return pid;
}
