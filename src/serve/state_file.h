/* SPDX-License-Identifier: Apache-2.0 */
/* The file in [serve] state_dir. It is only ever appended to by the server that made it, or replaced whole by
 * rename(2): whenever the server dies, what is there is the old text or the new one, but for the end of a line. */
#ifndef PX_SERVE_STATE_FILE_H
#define PX_SERVE_STATE_FILE_H

#include "base/buffer.h"
#include "pyexec.h"

#define PX_STATE_FILE "pyexec-sessions"
#define PX_STATE_FILE_MAX (16u << 20) /* more than is ever written */

struct px_state_file {
    int folder; /* -1: none; locked, so that no second server writes there */
    int fd;     /* what is appended to, or -1 */
};

/* Makes the folder if need be. -1: it can't be used, and `error` says why. */
int px_state_file_open(struct px_state_file *file, const char *folder, pyexec_error *error);
void px_state_file_close(struct px_state_file *file);

/* The text, which is empty when there is none. -1: it can't be read, and `error` says why. */
int px_state_file_read(const struct px_state_file *file, struct px_buffer *ret, pyexec_error *error);

/* Puts aside what can't be read, instead of writing over it. */
void px_state_file_put_aside(const struct px_state_file *file);

/* These are on the disk when they return, but for what is appended: px_state_file_sync(). -1 with errno. */
int px_state_file_replace(struct px_state_file *file, const char *bytes, size_t length);
int px_state_file_append(struct px_state_file *file, const char *bytes, size_t length);
int px_state_file_sync(struct px_state_file *file);

#endif
