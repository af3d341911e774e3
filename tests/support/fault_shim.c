/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the N-th call of a kind fail, or each from the N-th on, in the process that preloads it. Only calls
 * made by pyexec's own code and by the libraries of COUNTED are counted, because other libraries may handle a failure in
 * any way.
 *
 * The control block is a file (FAULT_CONTROL), so that a test can set the next fault of a running server. A C program
 * gets its own control block from fault_control(). Counting starts when `n` is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind {
    MEMORY,
    OPEN,
    READ,
    WRITE,
    RECEIVE,
    SEND,
    POLL,
    MAP,
    SOCKET,
    PIPE,
    FCNTL,
    EVENTFD,
    MEMFD,
    START,
    WAIT,
    EPOLL,
    STAT,
    RAW,
    RANDOM,
};

struct control {
    _Atomic uint32_t generation; /* changed whenever a fault is set */
    uint32_t kind, error, onward;
    _Atomic uint64_t n; /* 0: nothing fails */
    _Atomic uint64_t count, fired;
    char where[240]; /* of the first failure: module+offset */
};

static struct control own, *control = &own;

struct control *fault_control(void)
{
    return control;
}

/* ---- Whose calls are counted ---- */

static const char *const COUNTED[] = {"libpyexec.so", "pyexec_serve.so", "libjansson.so", "/libc.so.6", "/pyexec"};

static struct {
    uintptr_t from, to;
} ranges[16];
static size_t range_count;
static uint32_t ranges_of;
static _Thread_local int inside;

static int note_module(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    char self[4096];
    const char *name = info->dlpi_name;
    if (!*name) {
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n > 0 ? n : 0] = 0;
        const char *base = strrchr(self, '/');
        name = base ? base : "";
        if (strcmp(name, "/pyexec") != 0)
            return 0;
    }
    for (size_t i = 0; i < sizeof COUNTED / sizeof *COUNTED; i++)
        if (strstr(name, COUNTED[i]) && (COUNTED[i][1] != 'p' || !info->dlpi_name[0]))
            for (int j = 0; j < info->dlpi_phnum && range_count < 16; j++)
                if (info->dlpi_phdr[j].p_type == PT_LOAD && info->dlpi_phdr[j].p_flags & PF_X) {
                    ranges[range_count].from = info->dlpi_addr + info->dlpi_phdr[j].p_vaddr;
                    ranges[range_count].to = ranges[range_count].from + info->dlpi_phdr[j].p_memsz;
                    range_count++;
                }
    return 0;
}

static int counted(uintptr_t caller, enum kind kind)
{
    uint32_t generation = control->generation;
    if (ranges_of != generation || !range_count) {
        range_count = 0;
        dl_iterate_phdr(note_module, NULL);
        ranges_of = generation;
    }
    (void)kind;
    for (size_t i = 0; i < range_count; i++)
        if (caller >= ranges[i].from && caller < ranges[i].to)
            return 1;
    return 0;
}

static void note_place(uintptr_t caller)
{
    Dl_info info;
    if (dladdr((void *)caller, &info))
        snprintf(control->where, sizeof control->where, "%s+0x%lx", info.dli_fname,
                 (long)(caller - (uintptr_t)info.dli_fbase - 1));
}

static int fails(enum kind kind, void *return_address)
{
    uint64_t n = control->n;
    if (!n || control->kind != kind || inside)
        return 0;
    inside = 1;
    int result = 0;
    if (counted((uintptr_t)return_address, kind)) {
        uint64_t number = atomic_fetch_add(&control->count, 1) + 1;
        if (number == n || (control->onward && number > n)) {
            if (atomic_fetch_add(&control->fired, 1) == 0)
                note_place((uintptr_t)return_address);
            result = 1;
        }
    }
    inside = 0;
    return result;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    if (fd >= 0)
        close(fd);
}

#define CALLER __builtin_return_address(0)

/* ---- Memory ---- */

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

#define ALLOCATE(call) \
    if (fails(MEMORY, CALLER)) { \
        errno = ENOMEM; \
        return NULL; \
    } \
    return call

void *malloc(size_t size)
{
    ALLOCATE(__libc_malloc(size));
}
void *calloc(size_t count, size_t size)
{
    ALLOCATE(__libc_calloc(count, size));
}
void *realloc(void *memory, size_t size)
{
    ALLOCATE(__libc_realloc(memory, size));
}

/* ---- Calls of the kernel ---- */

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define FAIL(kind, result) \
    if (fails(kind, CALLER)) { \
        errno = (int)control->error; \
        return result; \
    }

#define WRAP(kind, type, name, parameters, arguments) \
    type name parameters \
    { \
        REAL(name); \
        FAIL(kind, (type)-1) \
        return real arguments; \
    }

ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __open64_2(const char *, int);
int __openat64_2(int, const char *, int);

WRAP(READ, ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
WRAP(READ, ssize_t, __read_chk, (int fd, void *to, size_t size, size_t room), (fd, to, size, room))
WRAP(READ, ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
WRAP(READ, ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
WRAP(READ, ssize_t, __pread64_chk, (int fd, void *to, size_t size, off_t at, size_t room), (fd, to, size, at, room))
WRAP(WRITE, ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
WRAP(WRITE, int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(WRITE, int, ftruncate64, (int fd, off64_t size), (fd, size))
WRAP(RECEIVE, ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags))
WRAP(RECEIVE, ssize_t, __recv_chk, (int fd, void *to, size_t size, size_t room, int flags), (fd, to, size, room, flags))
WRAP(RECEIVE, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(SEND, ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags))
WRAP(SEND, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(POLL, int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
WRAP(POLL, int, __poll_chk, (struct pollfd * fds, nfds_t count, int timeout, size_t room), (fds, count, timeout, room))
WRAP(SOCKET, int, socketpair, (int domain, int type, int protocol, int *ends), (domain, type, protocol, ends))
WRAP(SOCKET, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(SOCKET, int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
WRAP(SOCKET, int, listen, (int fd, int backlog), (fd, backlog))
WRAP(PIPE, int, pipe2, (int *ends, int flags), (ends, flags))
WRAP(EVENTFD, int, eventfd, (unsigned value, int flags), (value, flags))
WRAP(EVENTFD, int, timerfd_create, (int clock, int flags), (clock, flags))
WRAP(MEMFD, int, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(WAIT, int, waitid, (idtype_t type, id_t id, siginfo_t *info, int flags), (type, id, info, flags))
WRAP(WAIT, pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(EPOLL, int, epoll_create1, (int flags), (flags))
WRAP(EPOLL, int, epoll_ctl, (int set, int what, int fd, struct epoll_event *event), (set, what, fd, event))
WRAP(EPOLL, int, epoll_wait, (int set, struct epoll_event *events, int max, int timeout), (set, events, max, timeout))
WRAP(STAT, int, fstat, (int fd, struct stat *to), (fd, to))
WRAP(STAT, int, fstat64, (int fd, struct stat64 *to), (fd, to))
WRAP(STAT, int, fstatat, (int fd, const char *path, struct stat *to, int flags), (fd, path, to, flags))
WRAP(STAT, int, fstatat64, (int fd, const char *path, struct stat64 *to, int flags), (fd, path, to, flags))
WRAP(RANDOM, ssize_t, getrandom, (void *to, size_t size, unsigned flags), (to, size, flags))
WRAP(OPEN, int, __open64_2, (const char *path, int flags), (path, flags))
WRAP(OPEN, int, __openat64_2, (int fd, const char *path, int flags), (fd, path, flags))

#define MODE \
    va_list list; \
    va_start(list, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
    va_end(list)

#define WRAP_OPEN(name, parameters, ...) \
    int name parameters \
    { \
        MODE; \
        REAL(name); \
        FAIL(OPEN, -1) \
        return real(__VA_ARGS__, mode); \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), path, flags)
WRAP_OPEN(open64, (const char *path, int flags, ...), path, flags)
WRAP_OPEN(openat, (int fd, const char *path, int flags, ...), fd, path, flags)
WRAP_OPEN(openat64, (int fd, const char *path, int flags, ...), fd, path, flags)

#define WRAP_FCNTL(name) \
    int name(int fd, int what, ...) \
    { \
        va_list list; \
        va_start(list, what); \
        long argument = va_arg(list, long); \
        va_end(list); \
        REAL(name); \
        FAIL(FCNTL, -1) \
        return real(fd, what, argument); \
    }

WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    FAIL(MAP, MAP_FAILED)
    return real(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    REAL(mmap64);
    FAIL(MAP, MAP_FAILED)
    return real(at, size, protection, flags, fd, offset);
}

#define WRAP_START(name, parameters, arguments) \
    int name parameters \
    { \
        REAL(name); \
        if (fails(START, CALLER)) \
            return (int)control->error; \
        return real arguments; \
    }

WRAP_START(posix_spawn,
           (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
            const posix_spawnattr_t *attributes, char *const *arguments, char *const *environment),
           (pid, path, actions, attributes, arguments, environment))
WRAP_START(pthread_create, (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data),
           (thread, attributes, run, data))

/* openat2, pidfd_open, pidfd_send_signal, waitid with rusage. */
long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
         e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    static __typeof__(syscall) *real;
    if (!real)
        real = (__typeof__(syscall) *)dlsym(RTLD_NEXT, "syscall");
    FAIL(RAW, -1)
    return real(number, a, b, c, d, e, f);
}
