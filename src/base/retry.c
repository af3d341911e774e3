/* SPDX-License-Identifier: Apache-2.0 */
#include "base/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define MS INT64_C(1000000) /* nanoseconds */

#define RETRY(call) \
    ({ \
        __typeof__(call) px_result; \
        do \
            px_result = (call); \
        while (px_result < 0 && errno == EINTR); \
        px_result; \
    })

static int64_t end_of(int timeout_ms)
{
    return timeout_ms > 0 ? px_now_ns() + timeout_ms * MS : 0;
}

static int left_until(int64_t end_ns, int timeout_ms)
{
    if (timeout_ms <= 0)
        return timeout_ms;
    int64_t left = (end_ns - px_now_ns() + MS - 1) / MS;
    return left > 0 ? (int)left : 0;
}

int px_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int64_t end = end_of(timeout_ms);
    int result = poll(fds, count, timeout_ms);
    while (result < 0 && errno == EINTR)
        result = poll(fds, count, left_until(end, timeout_ms));
    return result;
}

int px_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    int64_t end = end_of(timeout_ms);
    int result = epoll_wait(epoll, events, max, timeout_ms);
    while (result < 0 && errno == EINTR)
        result = epoll_wait(epoll, events, max, left_until(end, timeout_ms));
    return result;
}

ssize_t px_read(int fd, void *bytes, size_t size)
{
    return RETRY(read(fd, bytes, size));
}

ssize_t px_pread(int fd, void *bytes, size_t size, off_t offset)
{
    return RETRY(pread(fd, bytes, size, offset));
}

ssize_t px_write(int fd, const void *bytes, size_t length)
{
    return RETRY(write(fd, bytes, length));
}

ssize_t px_write_now(int fd, const void *bytes, size_t length)
{
    const struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    /* musl has a function for this call only since 1.2.5. The position -1 is that of the file. */
    return RETRY((ssize_t)syscall(SYS_pwritev2, fd, &part, 1, -1L, 0L, RWF_NOWAIT));
}

ssize_t px_recv(int socket, void *bytes, size_t size, int flags)
{
    return RETRY(recv(socket, bytes, size, flags));
}

ssize_t px_send(int socket, const void *bytes, size_t length, int flags)
{
    return RETRY(send(socket, bytes, length, flags));
}

ssize_t px_recvmsg(int socket, struct msghdr *message, int flags)
{
    return RETRY(recvmsg(socket, message, flags));
}

ssize_t px_sendmsg(int socket, const struct msghdr *message, int flags)
{
    return RETRY(sendmsg(socket, message, flags));
}

int px_open(const char *path, int flags, mode_t mode)
{
    return RETRY(open(path, flags, mode));
}

int px_openat(int folder, const char *path, int flags, mode_t mode)
{
    return RETRY(openat(folder, path, flags, mode));
}

int px_ftruncate(int fd, off_t length)
{
    return RETRY(ftruncate(fd, length));
}

int px_fallocate(int fd, int mode, off_t at, off_t length)
{
    return RETRY(fallocate(fd, mode, at, length));
}

ssize_t px_copy_file_range(int from, off_t *at, int to, size_t length)
{
    return RETRY(copy_file_range(from, at, to, NULL, length, 0));
}

ssize_t px_sendfile(int to, int from, off_t *at, size_t length)
{
    return RETRY(sendfile(to, from, at, length));
}

int px_fsync(int fd)
{
    return RETRY(fsync(fd));
}

int px_fdatasync(int fd)
{
    return RETRY(fdatasync(fd));
}

int px_connect_nonblocking(int socket, const struct sockaddr *address, socklen_t length)
{
    return RETRY(connect(socket, address, length));
}

pid_t px_waitpid(pid_t pid, int *ret_status, int options)
{
    return RETRY(waitpid(pid, ret_status, options));
}

int px_waitid(idtype_t type, id_t id, siginfo_t *ret_info, int options, struct rusage *ret_usage)
{
    return (int)RETRY(syscall(SYS_waitid, type, id, ret_info, options, ret_usage));
}

int px_random_bytes(void *bytes, size_t length)
{
    char *at = bytes;
    while (length) {
        ssize_t n = RETRY(getrandom(at, length, 0));
        if (n < 0)
            return -1;
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

void px_sleep_ns(int64_t ns)
{
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

int px_ppoll_or_signal(struct pollfd *fds, nfds_t count, const sigset_t *mask)
{
    return ppoll(fds, count, NULL, mask);
}

ssize_t px_write_or_signal(int fd, const void *bytes, size_t length)
{
    return write(fd, bytes, length);
}
