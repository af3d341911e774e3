/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the host in a workspace. A hostile child may write below the same folder at the same time. So nothing
 * here follows a link, leaves the folder, waits for a FIFO, or trusts a size. */
#ifndef PX_RUNNER_WORKSPACE_H
#define PX_RUNNER_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"
#include "result/file_list.h"

/* One regular file as it was when the folder was listed. */
struct px_snapshot_entry {
    char *path;
    uint64_t inode, size;
    int64_t modified_ns, changed_ns;
};

struct px_snapshot {
    struct px_snapshot_entry *entries; /* sorted by path */
    size_t count, capacity;
    size_t met;          /* entries of any kind */
    size_t path_bytes;   /* length of the paths of all files that were found */
    uint64_t file_bytes; /* size of all files that were found */
    bool truncated;      /* there are more files than the list has */
    bool uncounted;      /* there may be files that file_bytes does not include */
};

/* Lists the regular files below the folder: among at most 20,000 entries, at most 64 folders deep, with paths
 * of at most 4 MiB in all. */
int px_snapshot_take(int folder, struct px_snapshot *ret, pyexec_error *error);
void px_snapshot_done(struct px_snapshot *snapshot);

/* Makes the files of a result: at most 1,000 changes, and the content of files that match a pattern, at most 8 MiB
 * in all. Returns 0, or -1 when there is no memory or the host fails. */
int px_snapshot_changes(int folder, const struct px_snapshot *before, const struct px_snapshot *after,
                        const struct px_strings *patterns, struct pyexec_file_list *ret);

/* Makes a folder, and those above it. The path is relative and checked (px_request_check_path). Fails with
 * invalid_request, "outside sandbox" if a symbolic link is in the way. */
int px_workspace_make_folder(int folder, const char *path, const char *what, pyexec_error *error);

/* Opens a regular file for writing. Creates or empties it, and makes the folders above it. */
int px_workspace_open_write(int folder, const char *path, pyexec_error *error);

/* Renames in one step, and replaces an existing file. Makes the folders above `to`. */
int px_workspace_rename(int folder, const char *from, const char *to, pyexec_error *error);

/* Opens a regular file for reading; *ret_bytes is its size. */
int px_workspace_open_read(int folder, const char *path, uint64_t *ret_bytes, pyexec_error *error);

/* Finds how many bytes may still be written: what the file system has left and, if the kernel enforces no quota,
 * what `quota` (else UINT64_MAX) leaves beside the existing files. */
int px_workspace_room(int folder, uint64_t quota, uint64_t *ret, pyexec_error *error);

/* Sets invalid_request, because writing the file failed. */
int px_workspace_full(const char *path, int sys_errno, pyexec_error *error);

/* Writes a file, and replaces an existing file. Makes the folders above it. */
int px_workspace_write(int folder, const char *path, const void *bytes, size_t length, pyexec_error *error);

/* Reads a regular file of at most `limit` bytes. */
int px_workspace_read(int folder, const char *path, size_t limit, struct px_buffer *ret, pyexec_error *error);

/* Removes a file, or an empty folder. */
int px_workspace_delete(int folder, const char *path, pyexec_error *error);

/* Lists the entries of one folder ("" is the workspace), at most 20,000. Returns -1 with sys_errno ENOENT, ENOTDIR
 * or others. The caller frees *ret also after a failure. */
int px_workspace_list_folder(int folder, const char *path, struct pyexec_file_list *ret, pyexec_error *error);

/* Lists all files. Returns 0, or -1 when there is no memory. The caller frees *ret also after a failure. */
int px_snapshot_list(const struct px_snapshot *snapshot, struct pyexec_file_list *ret);

#endif
