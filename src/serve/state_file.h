/* SPDX-License-Identifier: Apache-2.0 */
/* The file in [serve] state_dir. A server only appends to the file that it made itself, or replaces it as a whole
 * by rename(2). So whenever the server is killed, the file has the old text or the new text, and only its last
 * line may be incomplete. */
#ifndef PX_SERVE_STATE_FILE_H
#define PX_SERVE_STATE_FILE_H

#include "base/buffer.h"
#include "pyexec.h"

#define PX_STATE_FILE "pyexec-sessions"
#define PX_STATE_FILE_MAX (16u << 20) /* larger than the server ever writes */

struct px_state_file {
    int folder; /* -1: no folder; locked, so that no second server writes there */
    int fd;     /* the file that lines are appended to, or -1 */
};

/* Opens the folder and makes it if necessary. Returns -1 with `error` when it can't be used. */
int px_state_file_open(struct px_state_file *file, const char *folder, pyexec_error *error);
void px_state_file_close(struct px_state_file *file);

/* Reads the text; it is empty when there is no file. Returns -1 with `error` when it can't be read. */
int px_state_file_read(const struct px_state_file *file, struct px_buffer *ret, pyexec_error *error);

/* Renames a file that can't be read, so that it is not overwritten. */
void px_state_file_put_aside(const struct px_state_file *file);

/* A replaced text is on the disk when the function returns; an appended text only after px_state_file_sync().
 * These return 0, or -1 with errno. */
int px_state_file_replace(struct px_state_file *file, const char *bytes, size_t length);
int px_state_file_append(struct px_state_file *file, const char *bytes, size_t length);
int px_state_file_sync(struct px_state_file *file);

#endif
