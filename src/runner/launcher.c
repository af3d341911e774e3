/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/launcher.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"
#include "runner/exits.h"
#include "runner/interpreter.h"
#include "runner/run_cgroup.h"

#ifndef PX_LIBEXECDIR
#define PX_LIBEXECDIR "/usr/libexec/pyexec"
#endif
#define START_TIMEOUT_MS 10000
#define OPEN_FILES_MIN 128 /* while it starts, the zygote moves its descriptors to 64 and higher numbers */

struct px_launcher {
    int outer, supervisor, pidfd, outer_pidfd;
    bool privileged;
    int cgroup; /* the folder for the cgroups of runs, or -1 */
    char cgroup_text[512];
    pthread_mutex_t outer_lock; /* one request on the outer socket at a time */
    uint64_t bind_token;
    pthread_mutex_t start_lock; /* one request to the supervisor at a time */
    pthread_mutex_t lock;       /* protects what follows */
    pthread_cond_t changed;
    struct px_exits exits;
    px_layers missing;
    uint64_t run_cgroups; /* number of cgroups made so far */
    uint32_t token;
    struct px_launch_event started; /* the answer to the start of a zygote that is in progress */
    int started_pidfd;
    bool dead;
    pthread_t exit_reader;
    bool exit_reader_runs;
    atomic_bool stopping;
};

int px_launcher_find_program(const char *name, char *path, size_t size, pyexec_error *error)
{
    const char *configured = getenv("PYEXEC_LIBEXECDIR");
    char here[PX_PATH_MAX] = "";
    Dl_info info;
    bool found =
        dladdr((void *)(uintptr_t)&px_launcher_find_program, &info) && info.dli_fname && realpath(info.dli_fname, here);
    /* A program that is linked statically has no list of loaded files. Then the library is in the program. */
    if (found || realpath("/proc/self/exe", here)) {
        char *slash = strrchr(here, '/');
        if (slash)
            *slash = '\0';
    }
    /* In a build folder or an unpacked bundle they are beside the library. Otherwise they are at a path relative
     * to it, so that an installation can be moved (DESTDIR). <prefix>/lib/<multiarch> is one level deeper. */
    static const char *const relative[] = {"", "/../libexec/pyexec", "/../../libexec/pyexec"};
    if (configured && *configured) {
        snprintf(path, size, "%s/%s", configured, name);
        if (access(path, X_OK) == 0)
            return 0;
        px_error_errno(error, PYEXEC_INTERNAL, errno, "PYEXEC_LIBEXECDIR: can't find '%s'", path);
        return px_error_hint(error, "Unset it, or set it to the folder that holds pyexec-launch and "
                                    "pyexec_guest.abi3.so.");
    }
    for (size_t i = 0; here[0] && i < PX_COUNT(relative); i++) {
        snprintf(path, size, "%s%s/%s", here, relative[i], name);
        if (access(path, X_OK) == 0)
            return 0;
    }
    snprintf(path, size, "%s/%s", PX_LIBEXECDIR, name);
    if (access(path, X_OK) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't find '%s'", path);
    return px_error_hint(error, "Reinstall pyexec, or set PYEXEC_LIBEXECDIR to the folder that "
                                "holds pyexec-launch and pyexec_guest.abi3.so.");
}

static void handle_event(struct px_launcher *launcher, const struct px_launch_event *event, int pidfd)
{
    uint64_t run_cgroup = 0;
    int left[PX_EXIT_FDS];
    size_t left_count = 0;
    pthread_mutex_lock(&launcher->lock);
    if (event->type != PX_EVENT_EXIT) {
        launcher->started = *event;
        px_close_fd(&launcher->started_pidfd);
        launcher->started_pidfd = pidfd;
    } else {
        struct px_exit *ended = px_exits_get(&launcher->exits, event->pid);
        run_cgroup = ended ? ended->run_cgroup : 0;
        if (ended && ended->forgotten) {
            left_count = px_exits_take_fds(&launcher->exits, ended, left);
            px_exits_remove(&launcher->exits, ended);
        } else if (ended) {
            ended->exited = true;
            ended->event = *event;
            ended->event.oom = run_cgroup ? px_run_cgroup_oom(launcher->cgroup, run_cgroup) : PX_OOM_NONE;
        }
    }
    pthread_cond_broadcast(&launcher->changed);
    pthread_mutex_unlock(&launcher->lock);
    px_close_fds(left, left_count);
    if (run_cgroup)
        px_run_cgroup_remove(launcher->cgroup, run_cgroup);
}

bool px_launcher_cgroup(const struct px_launcher *launcher, const char **ret_text)
{
    *ret_text = launcher->cgroup_text;
    return launcher->cgroup >= 0;
}

int px_launcher_make_run_cgroup(struct px_launcher *launcher, const struct px_clone_request *shape,
                                uint64_t *ret_number, pyexec_error *error)
{
    *ret_number = 0;
    if (launcher->cgroup < 0)
        return -1;
    *ret_number = __atomic_add_fetch(&launcher->run_cgroups, 1, __ATOMIC_RELAXED);
    int fd = px_run_cgroup_make(launcher->cgroup, *ret_number, shape);
    if (fd < 0) {
        px_error_errno(error, PYEXEC_OVERLOADED, errno, "can't make a cgroup for the run below '%s'",
                       launcher->cgroup_text);
        px_error_hint(error, "See its cgroup.max.descendants and the kernel's free memory, or set "
                             "[host] cgroup to off.");
    }
    return fd;
}

/* The child's exit may already have been reported. */
void px_launcher_release_run_cgroup(struct px_launcher *launcher, pid_t pid, uint64_t number)
{
    bool over = pid == 0;
    pthread_mutex_lock(&launcher->lock);
    struct px_exit *exit = over ? NULL : px_exits_get(&launcher->exits, pid);
    if (exit && exit->exited) {
        exit->event.oom = px_run_cgroup_oom(launcher->cgroup, number);
        over = true;
    } else if (exit) {
        exit->run_cgroup = number;
    }
    pthread_mutex_unlock(&launcher->lock);
    if (over)
        px_run_cgroup_remove(launcher->cgroup, number);
}

static void *keep(void *argument)
{
    struct px_launcher *launcher = argument;
    struct px_launch_event event;
    for (;;) {
        int pidfd = -1;
        size_t count;
        ssize_t n = px_receive_fds(launcher->supervisor, &event, sizeof event, &pidfd, 1, &count);
        /* The kernel keeps the message in the socket. It is not needed after the launcher is freed. */
        if (n < 0 && (errno == ENOMEM || errno == ENOBUFS) && !atomic_load(&launcher->stopping)) {
            px_sleep_ns(10000000);
            continue;
        }
        if (n <= 0)
            break;
        if ((size_t)n == sizeof event && event.magic == PX_LAUNCH_MAGIC)
            handle_event(launcher, &event, pidfd);
    }
    pthread_mutex_lock(&launcher->lock);
    launcher->dead = true;
    px_exits_close_all(&launcher->exits);
    pthread_cond_broadcast(&launcher->changed);
    pthread_mutex_unlock(&launcher->lock);
    return NULL;
}

/* Starts the program with the two sockets as 3 and 4, no other descriptor open, and no signal blocked or
 * ignored. */
static int spawn(struct px_launcher *launcher, int supervisor_end, int outer_end, pyexec_error *error)
{
    char program[PX_PATH_MAX];
    if (px_launcher_find_program("pyexec-launch", program, sizeof program, error) < 0)
        return -1;
    px_auto_fd int supervisor_high = fcntl(supervisor_end, F_DUPFD_CLOEXEC, 16);
    px_auto_fd int outer_high = fcntl(outer_end, F_DUPFD_CLOEXEC, 16);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (supervisor_high < 0 || outer_high < 0)
        return px_error_exhausted(error, errno, "can't duplicate a descriptor");
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* Each of these steps allocates. */
    bool placed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0) == 0 &&
                  posix_spawn_file_actions_adddup2(&actions, 0, 1) == 0 &&
                  posix_spawn_file_actions_adddup2(&actions, 0, 2) == 0 &&
                  posix_spawn_file_actions_adddup2(&actions, supervisor_high, PX_LAUNCH_SUPERVISOR_FD) == 0 &&
                  posix_spawn_file_actions_adddup2(&actions, outer_high, PX_LAUNCH_OUTER_FD) == 0;
    sigset_t set;
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *const arguments[] = {"pyexec-launch", NULL}, *const environment[] = {NULL};
    pid_t pid;
    int failed = placed ? posix_spawn(&pid, program, &actions, &attributes, arguments, environment) : ENOMEM;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed) {
        char what[PX_PATH_MAX + 16];
        snprintf(what, sizeof what, "can't start '%s'", program);
        return px_error_exhausted(error, failed, what);
    }
    launcher->outer_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (launcher->outer_pidfd < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "pidfd_open (Linux 5.3)");
    return 0;
}

static int await_readable(int fd, int timeout_ms)
{
    struct pollfd polled = {fd, POLLIN, 0};
    return px_poll(&polled, 1, timeout_ms);
}

static int handshake(struct px_launcher *launcher, const struct px_launcher_options *options, pyexec_error *error)
{
    struct px_launch_start start = {
        .magic = PX_LAUNCH_MAGIC,
        .allow_missing = options->allow_missing,
        .owner_uid = options->owner_uid,
        .owner_gid = options->owner_gid,
        .run_uid = options->run_uid,
        .run_uid_count = options->run_uid_count,
        .run_gid = options->run_gid,
    };
    snprintf(start.cgroup, sizeof start.cgroup, "%s", options->cgroup);
    struct px_launch_started started;
    int fds[2] = {-1, -1};
    px_auto_fd int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "pidfd_open (Linux 5.3)");
    if (px_send_fds(launcher->outer, &start, sizeof start, &self, 1) < 0 ||
        await_readable(launcher->outer, START_TIMEOUT_MS) <= 0)
        return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "pyexec-launch does not answer");
    size_t count;
    ssize_t n = px_receive_fds(launcher->outer, &started, sizeof started, fds, 2, &count);
    launcher->pidfd = fds[0];
    launcher->cgroup = fds[1];
    if (n != sizeof started || started.magic != PX_LAUNCH_MAGIC)
        return px_error_set(error, PYEXEC_INTERNAL, "pyexec-launch has another version than libpyexec, or was killed");
    launcher->missing = started.missing;
    launcher->privileged = started.privileged;
    memcpy(launcher->cgroup_text, started.cgroup_text, sizeof launcher->cgroup_text);
    if (started.error.code != PYEXEC_OK) {
        *error = started.error;
        return -1;
    }
    return 0;
}

/* Everything that is started from here inherits these. */
static int check_limits(pyexec_error *error)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= OPEN_FILES_MIN)
        return 0;
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                 "the limit of open files is %llu (RLIMIT_NOFILE), but pyexec needs %d",
                 (unsigned long long)files.rlim_cur, OPEN_FILES_MIN);
    return px_error_hint(error, "Raise it: `ulimit -n 1024`, or LimitNOFILE= of the service.");
}

int px_launcher_new(const struct px_launcher_options *options, struct px_launcher **ret, pyexec_error *error)
{
    if (check_limits(error) < 0)
        return -1;
    struct px_launcher *launcher = calloc(1, sizeof *launcher);
    if (!launcher)
        return px_error_oom(error);
    launcher->outer = launcher->supervisor = launcher->pidfd = launcher->outer_pidfd = -1;
    launcher->started_pidfd = launcher->cgroup = -1;
    pthread_mutex_init(&launcher->outer_lock, NULL);
    pthread_mutex_init(&launcher->start_lock, NULL);
    pthread_mutex_init(&launcher->lock, NULL);
    px_cond_init(&launcher->changed);

    int outer[2] = {-1, -1}, supervisor[2] = {-1, -1}, result = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, outer) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, supervisor) < 0)
        result = px_error_exhausted(error, errno, "can't make sockets");
    launcher->outer = outer[0];
    launcher->supervisor = supervisor[0];
    if (result == 0)
        result = spawn(launcher, supervisor[1], outer[1], error);
    px_close_fds(&outer[1], 1);
    px_close_fds(&supervisor[1], 1);
    if (result == 0)
        result = handshake(launcher, options, error);
    if (result == 0) {
        int failed = px_thread_create(&launcher->exit_reader, keep, launcher);
        launcher->exit_reader_runs = !failed;
        if (failed)
            result = px_error_exhausted(error, failed, "can't start a thread");
    }
    if (result < 0) {
        px_launcher_free(launcher);
        return -1;
    }
    *ret = launcher;
    return 0;
}

void px_launcher_stop(struct px_launcher *launcher)
{
    /* The supervisor ends when its input ends, and with it all processes below it. */
    if (launcher->supervisor >= 0)
        shutdown(launcher->supervisor, SHUT_RDWR);
}

void px_launcher_free(struct px_launcher *launcher)
{
    if (!launcher)
        return;
    px_launcher_stop(launcher);
    px_close_fd(&launcher->outer);
    if (launcher->outer_pidfd >= 0) {
        /* The signals are for a supervisor that does not react. */
        if (await_readable(launcher->outer_pidfd, 2000) == 0) {
            if (launcher->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, launcher->pidfd, SIGKILL, NULL, 0);
            syscall(SYS_pidfd_send_signal, launcher->outer_pidfd, SIGKILL, NULL, 0);
            (void)!await_readable(launcher->outer_pidfd, 2000);
        }
        /* Fails with ECHILD if the host program ignores SIGCHLD or has waited for the process itself. */
        siginfo_t info;
        (void)!px_waitid((idtype_t)3 /* P_PIDFD */, (id_t)launcher->outer_pidfd, &info, WEXITED | WNOHANG, NULL);
    }
    atomic_store(&launcher->stopping, true);
    if (launcher->exit_reader_runs)
        pthread_join(launcher->exit_reader, NULL);
    px_exits_done(&launcher->exits);
    px_close_fd(&launcher->supervisor);
    px_close_fd(&launcher->pidfd);
    px_close_fd(&launcher->outer_pidfd);
    px_close_fd(&launcher->started_pidfd);
    px_close_fd(&launcher->cgroup);
    pthread_mutex_destroy(&launcher->outer_lock);
    pthread_mutex_destroy(&launcher->start_lock);
    pthread_mutex_destroy(&launcher->lock);
    pthread_cond_destroy(&launcher->changed);
    free(launcher);
}

bool px_launcher_dead(struct px_launcher *launcher)
{
    pthread_mutex_lock(&launcher->lock);
    bool dead = launcher->dead;
    pthread_mutex_unlock(&launcher->lock);
    return dead;
}

bool px_launcher_privileged(const struct px_launcher *launcher)
{
    return launcher->privileged;
}

px_layers px_launcher_missing(struct px_launcher *launcher)
{
    pthread_mutex_lock(&launcher->lock);
    px_layers missing = launcher->missing;
    pthread_mutex_unlock(&launcher->lock);
    return missing;
}

static int64_t deadline_after(int timeout_ms)
{
    return px_now_ns() + timeout_ms * INT64_C(1000000);
}

/* Sends the request and waits until the exit reader has got its answer. */
int px_launcher_ask(struct px_launcher *launcher, struct px_launch_zygote *request, const int *fds, size_t count,
                    struct px_launch_event *ret, int *ret_pidfd, pyexec_error *error)
{
    int64_t deadline = deadline_after(START_TIMEOUT_MS);
    pthread_mutex_lock(&launcher->start_lock);
    pthread_mutex_lock(&launcher->lock);
    request->magic = PX_LAUNCH_MAGIC;
    request->token = ++launcher->token;
    int waited = 0;
    bool sent = px_send_fds(launcher->supervisor, request, sizeof *request, fds, count) == 0;
    while (sent && !launcher->dead && launcher->started.token != request->token && waited == 0)
        waited = px_cond_wait_until(&launcher->changed, &launcher->lock, deadline);
    *ret = launcher->started;
    if (ret->token == request->token)
        *ret_pidfd = TAKE_FD(launcher->started_pidfd);
    pthread_mutex_unlock(&launcher->lock);
    pthread_mutex_unlock(&launcher->start_lock);
    if (ret->token != request->token)
        return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the supervisor does not answer");
    return 0;
}

int px_launcher_start_zygote(struct px_launcher *launcher, const char *python, bool isolate_site,
                             enum px_network network, px_layers without, struct px_launched_zygote *ret,
                             pyexec_error *error)
{
    struct px_launch_zygote request = {.op = PX_LAUNCH_ZYGOTE,
                                       .isolate_site = isolate_site,
                                       .network = network,
                                       .libc = px_python_libc(python),
                                       .missing = without};
    snprintf(request.python, sizeof request.python, "%s", python);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_exhausted(error, errno, "can't make a socket");
    px_auto_fd int socket = pair[0];
    px_auto_fd int theirs = pair[1];
    px_auto_fd int pidfd = -1;
    px_auto_fd int log = memfd_create("log", MFD_CLOEXEC);
    if (log < 0)
        return px_error_exhausted(error, errno, "can't make a memory file");
    struct px_launch_event event;
    int fds[2] = {theirs, log};
    if (px_launcher_ask(launcher, &request, fds, 2, &event, &pidfd, error) < 0)
        return -1;
    if (event.type != PX_EVENT_ZYGOTE_STARTED) {
        *error = event.error;
        return -1;
    }
    /* The kernel dropped the descriptor (recvmsg(2), MSG_CTRUNC). The zygote ends when its socket does. */
    if (pidfd < 0)
        return px_error_exhausted(error, EMFILE, "can't receive the interpreter's descriptor");
    *ret = (struct px_launched_zygote){.socket = TAKE_FD(socket),
                                       .pidfd = TAKE_FD(pidfd),
                                       .log = TAKE_FD(log),
                                       .pid = event.pid,
                                       .missing = event.missing};
    return 0;
}

/* Waits for the answer with this token. An answer with another token came too late for its caller, or its caller
 * could not receive it; it is dropped. */
static ssize_t receive_bound(struct px_launcher *launcher, uint64_t token, struct px_launch_bound *ret, int *ret_mount)
{
    ssize_t n;
    do {
        px_close_fd(ret_mount);
        if (await_readable(launcher->outer, START_TIMEOUT_MS) <= 0)
            return -1;
        n = px_receive_fds(launcher->outer, ret, sizeof *ret, ret_mount, 1, NULL);
    } while (n == sizeof *ret && ret->magic == PX_LAUNCH_MAGIC && ret->token != token);
    return n;
}

int px_launcher_bind(struct px_launcher *launcher, const char *path, int folder, bool read_only, pyexec_error *error)
{
    struct stat status;
    struct px_launch_bind request = {.magic = PX_LAUNCH_MAGIC, .read_only = read_only};
    struct px_launch_bound bound;
    if (fstat(folder, &status) < 0 || strlen(path) >= sizeof request.path) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "can't use the workspace '%s'", path);
        return px_error_hint(error, "Give a folder that exists, by a path of less than %zu bytes.",
                             sizeof request.path);
    }
    request.device = status.st_dev;
    request.inode = status.st_ino;
    snprintf(request.path, sizeof request.path, "%s", path);
    int mount = -1;
    ssize_t n = -1;
    pthread_mutex_lock(&launcher->outer_lock);
    request.token = ++launcher->bind_token;
    if (px_send_fds(launcher->outer, &request, sizeof request, NULL, 0) == 0)
        n = receive_bound(launcher, request.token, &bound, &mount);
    pthread_mutex_unlock(&launcher->outer_lock);
    if (n != sizeof bound || bound.magic != PX_LAUNCH_MAGIC)
        px_close_fd(&mount);
    if (n != sizeof bound || bound.magic != PX_LAUNCH_MAGIC)
        return px_error_set(error, PYEXEC_INTERNAL, "pyexec-launch does not answer");
    if (bound.error.code != PYEXEC_OK) {
        *error = bound.error;
        return -1;
    }
    /* The kernel drops a descriptor when there is no free number for it (recvmsg(2), MSG_CTRUNC). */
    return mount < 0 ? px_error_exhausted(error, EMFILE, "can't receive the workspace's mount") : mount;
}

int px_launcher_await_exit(struct px_launcher *launcher, pid_t pid, int timeout_ms, struct px_launch_event *ret)
{
    int64_t deadline = deadline_after(timeout_ms);
    int waited = 0;
    pthread_mutex_lock(&launcher->lock);
    struct px_exit *exit = px_exits_get(&launcher->exits, pid);
    while (exit && !exit->exited && !launcher->dead && waited == 0)
        waited = px_cond_wait_until(&launcher->changed, &launcher->lock, deadline);
    bool exited = exit && exit->exited;
    if (exited) {
        *ret = exit->event;
        px_exits_remove(&launcher->exits, exit);
    } else if (exit) {
        exit->forgotten = true;
    }
    pthread_mutex_unlock(&launcher->lock);
    return exited ? 0 : -1;
}

void px_launcher_bury(struct px_launcher *launcher, pid_t pid, int pidfd, int *fds, size_t count)
{
    pthread_mutex_lock(&launcher->lock);
    struct px_exit *exit = px_exits_get(&launcher->exits, pid);
    if (exit && exit->exited) {
        px_exits_remove(&launcher->exits, exit);
    } else if (exit) {
        exit->forgotten = true;
        /* The exit of a child that lives has not been reported, and this record will be found then. That of another
         * may have been reported when there was no memory for a record. */
        if (!launcher->dead && pidfd >= 0 && await_readable(pidfd, 0) == 0)
            px_exits_hold(&launcher->exits, exit, fds, count);
    }
    pthread_mutex_unlock(&launcher->lock);
    px_close_fds(fds, count);
}

void px_launcher_forget(struct px_launcher *launcher, pid_t pid)
{
    px_launcher_bury(launcher, pid, -1, NULL, 0);
}
