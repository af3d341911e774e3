/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that a signal can interrupt (EINTR), repeated until they have a result.
 *
 * The other rooms use these and not the calls themselves; tests/tree/test_tree.py checks it. Each result
 * must be used. The functions whose name ends in _or_signal return at a signal, for programs
 * that must react to their own signal handlers.
 *
 * close(2) is not here: on Linux the descriptor is gone after EINTR, and a repeated call could close
 * one that another thread has opened since. */
#ifndef PX_BASE_RETRY_H
#define PX_BASE_RETRY_H

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>

#define PX_MUST_USE __attribute__((warn_unused_result))

/* These wait at most `timeout_ms` in all, however many signals arrive (-1: without a limit). */
PX_MUST_USE int px_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
PX_MUST_USE int px_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms);

PX_MUST_USE ssize_t px_read(int fd, void *bytes, size_t size);
PX_MUST_USE ssize_t px_pread(int fd, void *bytes, size_t size, off_t offset);
PX_MUST_USE ssize_t px_write(int fd, const void *bytes, size_t length);
/* Writes what fits now. Fails with EAGAIN where it would have to wait, and with EOPNOTSUPP if the kernel can't say so: for
 * pipes before Linux 6.4, and for some files. */
PX_MUST_USE ssize_t px_write_now(int fd, const void *bytes, size_t length);
PX_MUST_USE ssize_t px_recv(int socket, void *bytes, size_t size, int flags);
PX_MUST_USE ssize_t px_send(int socket, const void *bytes, size_t length, int flags);
PX_MUST_USE ssize_t px_recvmsg(int socket, struct msghdr *message, int flags);
PX_MUST_USE ssize_t px_sendmsg(int socket, const struct msghdr *message, int flags);

/* `mode` is for a file that is created; give 0 without O_CREAT and O_TMPFILE. */
PX_MUST_USE int px_open(const char *path, int flags, mode_t mode);
PX_MUST_USE int px_openat(int folder, const char *path, int flags, mode_t mode);
PX_MUST_USE int px_ftruncate(int fd, off_t length);
PX_MUST_USE int px_fallocate(int fd, int mode, off_t at, off_t length);
/* Copy from *at on, which moves, to the position of `to`. px_sendfile() is for regular files here. */
PX_MUST_USE ssize_t px_copy_file_range(int from, off_t *at, int to, size_t length);
PX_MUST_USE ssize_t px_sendfile(int to, int from, off_t *at, size_t length);
PX_MUST_USE int px_fsync(int fd);
PX_MUST_USE int px_fdatasync(int fd);

/* For a socket with SOCK_NONBLOCK. A blocking connect over TCP can't be repeated (connect(2)). */
PX_MUST_USE int px_connect_nonblocking(int socket, const struct sockaddr *address, socklen_t length);

PX_MUST_USE pid_t px_waitpid(pid_t pid, int *ret_status, int options);
/* waitid(2), with the resource usage that wait4(2) gives. `usage` may be NULL. */
PX_MUST_USE int px_waitid(idtype_t type, id_t id, siginfo_t *ret_info, int options, struct rusage *ret_usage);

/* Fills `bytes` with random bytes. Returns 0, or -1 with errno. */
PX_MUST_USE int px_random_bytes(void *bytes, size_t length);

/* Sleeps for the whole time, however many signals arrive. */
void px_sleep_ns(int64_t ns);

PX_MUST_USE int px_ppoll_or_signal(struct pollfd *fds, nfds_t count, const sigset_t *mask);
PX_MUST_USE ssize_t px_write_or_signal(int fd, const void *bytes, size_t length);

/* Inline, so that only the rooms that have threads need it. EINTR is the only failure of sem_wait(3) here. */
static inline void px_sem_wait(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        ;
}

/* Returns 0, or -1 with EINTR. */
PX_MUST_USE static inline int px_sem_wait_or_signal(sem_t *semaphore)
{
    return sem_wait(semaphore);
}

#endif
