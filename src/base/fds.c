/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

#define READ_CHUNK 65536

int px_write_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length) {
        ssize_t n = px_write(fd, at, length);
        if (n < 0)
            return -1;
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

int px_read_all(int fd, struct px_buffer *buffer, size_t limit)
{
    for (;;) {
        char *room = px_buffer_reserve(buffer, READ_CHUNK);
        if (!room) {
            errno = ENOMEM;
            return -1;
        }
        ssize_t n = px_read(fd, room, READ_CHUNK);
        if (n <= 0)
            return (int)n;
        room[n] = '\0';
        buffer->length += (size_t)n;
        if (buffer->length > limit) {
            errno = EFBIG;
            return -1;
        }
    }
}

int px_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * PX_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > PX_FDS_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (count) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    ssize_t n = px_sendmsg(socket, &message, MSG_NOSIGNAL);
    return n < 0 ? -1 : 0;
}

ssize_t px_receive_packet(int socket, void *bytes, size_t size, int flags)
{
    ssize_t n = px_recv(socket, bytes, size, flags);
    return n < 0 && errno == ECONNRESET ? px_recv(socket, bytes, size, flags) : n;
}

ssize_t px_receive_fds(int socket, void *bytes, size_t size, int *fds, size_t max, size_t *ret_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * PX_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (max) {
        message.msg_control = control.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) * (max > PX_FDS_MAX ? PX_FDS_MAX : max));
    }
    ssize_t n = px_recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    size_t count = 0;
    if (n >= 0 && max) {
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
            if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                continue;
            size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < here; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
                if (count < max)
                    fds[count++] = fd;
                else
                    close(fd);
            }
        }
    }
    bool cut = n >= 0 && (message.msg_flags & MSG_TRUNC);
    if (cut) {
        px_close_fds(fds, count);
        count = 0;
        errno = EMSGSIZE;
    }
    if (ret_count)
        *ret_count = count;
    return cut ? -1 : n;
}

void px_close_fds(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        px_close_fd(&fds[i]);
}

int px_lock_file(int fd, bool exclusive)
{
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno == EACCES || errno == EAGAIN)
        errno = EWOULDBLOCK;
    return -1;
}

int px_memory_file(const char *name, const void *bytes, size_t length)
{
    px_auto_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || px_write_all(fd, bytes, length) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -1;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -1;
    return TAKE_FD(fd);
}

bool px_wake(int eventfd)
{
    const uint64_t one = 1;
    int saved = errno;
    bool woken = px_write(eventfd, &one, sizeof one) == (ssize_t)sizeof one;
    errno = saved;
    return woken;
}

bool px_wake_take(int eventfd)
{
    uint64_t count;
    return px_read(eventfd, &count, sizeof count) == (ssize_t)sizeof count;
}

ssize_t px_read_small_file(int dirfd, const char *path, char *buffer, size_t size)
{
    px_auto_fd int fd = px_openat(dirfd, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    size_t length = 0;
    while (length < size - 1) {
        ssize_t n = px_read(fd, buffer + length, size - 1 - length);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    buffer[length] = '\0';
    return (ssize_t)length;
}

uint64_t px_number_after(const char *text, const char *name, uint64_t absent)
{
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += length)
        if (at == text || at[-1] == '\n')
            return strtoull(at + length, NULL, 10);
    return absent;
}
