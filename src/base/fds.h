/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: reading and writing everything, and messages that carry descriptors. */
#ifndef PX_BASE_FDS_H
#define PX_BASE_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"

/* The most descriptors in one message (launch, clone and run messages need at most 6). */
#define PX_FDS_MAX 8

/* Writes all; 0, or -1 with errno. */
int px_write_all(int fd, const void *bytes, size_t length);

/* Reads up to the end and appends it. Returns 0, or -1 with errno: ENOMEM, or EFBIG when the buffer has more
 * than `limit` bytes. */
int px_read_all(int fd, struct px_buffer *buffer, size_t limit);

/* Receives one packet, as recv(2) does. If the other end was closed with bytes that it had not read, the kernel says so (ECONNRESET)
 * once, before it gives what that end had sent (unix_release_sock() in net/unix/af_unix.c): this gives the packet. */
ssize_t px_receive_packet(int socket, void *bytes, size_t size, int flags);

/* Sends one message with `count` descriptors, which the caller still owns. Uses MSG_NOSIGNAL. Returns 0, or -1
 * with errno. */
int px_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t count);

/* Receives one message and at most `max` descriptors, all close-on-exec; the kernel closes any others. Returns
 * the length (0: end of the stream), or -1 with errno: EMSGSIZE when the message was longer than `size`.
 * `ret_count` may be NULL only if `max` is 0. */
ssize_t px_receive_fds(int socket, void *bytes, size_t size, int *fds, size_t max, size_t *ret_count);

/* Closes each and sets it to -1. */
void px_close_fds(int *fds, size_t count);

/* Wakes a thread that polls an eventfd(2). True if this call did it; false if the eventfd was already readable (EAGAIN), or if
 * the descriptor is not an eventfd. Keeps errno, and is async-signal-safe. */
bool px_wake(int eventfd);

/* Takes the wake-ups so far from an eventfd that does not block. True if there were any. */
bool px_wake_take(int eventfd);

/* Takes a lock of the whole file, which belongs to the open file description (F_OFD_SETLK, fcntl(2)): whoever inherits the descriptor holds it
 * too. `exclusive` needs a descriptor that can write, unlike flock(2): so a user who may only read the file can't hold it against others.
 * Does not wait. Returns 0, or -1 with errno: EWOULDBLOCK if somebody else holds it. */
int px_lock_file(int fd, bool exclusive);

/* Makes a sealed, read-only memory file with these bytes, at offset 0. Returns -1 with errno. */
int px_memory_file(const char *name, const void *bytes, size_t length);

/* Reads the first bytes of a small file below `dirfd` and adds a NUL. Returns the length, or -1 with errno. */
ssize_t px_read_small_file(int dirfd, const char *path, char *buffer, size_t size);

/* Returns the number after `name` on the line that begins with it, as in /proc/PID/status, or `absent`. */
uint64_t px_number_after(const char *text, const char *name, uint64_t absent);

#endif
