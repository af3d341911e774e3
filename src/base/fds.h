/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: whole reads and writes, and messages that carry descriptors. */
#ifndef PX_BASE_FDS_H
#define PX_BASE_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"

/* Most descriptors in one message (launch, clone and run messages need at most 6). */
#define PX_FDS_MAX 8

/* Writes all; 0, or -1 with errno. */
int px_write_all(int fd, const void *bytes, size_t length);

/* Appends what there is up to the end. 0, or -1 with errno: ENOMEM, or EFBIG when the buffer has
 * more than `limit` bytes. */
int px_read_all(int fd, struct px_buffer *buffer, size_t limit);

/* Sends one message with `count` descriptors, which stay the caller's. MSG_NOSIGNAL.
 * 0, or -1 with errno. */
int px_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t count);

/* Receives one message and at most `max` descriptors, close-on-exec; further ones are closed
 * by the kernel. Returns its length (0: end), or -1 with errno; EMSGSIZE when it was longer
 * than `size`. *ret_count may be NULL only with max 0. */
ssize_t px_receive_fds(int socket, void *bytes, size_t size, int *fds, size_t max, size_t *ret_count);

/* Closes each and sets it to -1. */
void px_close_fds(int *fds, size_t count);

/* A sealed, read-only memory file with these bytes, at offset 0; -1 with errno. */
int px_memory_file(const char *name, const void *bytes, size_t length);

/* The first bytes of a small file below `dirfd`, terminated. Length, or -1 with errno. */
ssize_t px_read_small_file(int dirfd, const char *path, char *buffer, size_t size);

#endif
