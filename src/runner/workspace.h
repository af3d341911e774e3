/* SPDX-License-Identifier: Apache-2.0 */
/* The host's hand in a workspace. Everything below its descriptor is written by a hostile
 * child at the same time: nothing here follows a link, leaves the folder, waits for a fifo,
 * or trusts a size. */
#ifndef PX_RUNNER_WORKSPACE_H
#define PX_RUNNER_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"
#include "result/file_list.h"

/* One regular file as it was. */
struct px_snapshot_entry {
    char *path;
    uint64_t inode, size;
    int64_t modified_ns, changed_ns;
};

struct px_snapshot {
    struct px_snapshot_entry *entries; /* sorted by path */
    size_t count, capacity;
    size_t met;          /* entries of any kind */
    size_t path_bytes;   /* of the paths of all files that were met */
    uint64_t file_bytes; /* the sizes of all files that were met */
    bool truncated;      /* there was more than is listed */
    bool uncounted;      /* there may be files that file_bytes does not have */
};

/* Lists the regular files below the folder: among at most 20,000 entries, at most 64 folders deep, with paths
 * of at most 4 MiB in all. */
int px_snapshot_take(int folder, struct px_snapshot *ret, pyexec_error *error);
void px_snapshot_done(struct px_snapshot *snapshot);

/* The files of a result: at most 1,000 changes; contents of those that match a pattern, at most 8 MiB in all.
 * 0, or -1: no memory, or the host fails. */
int px_snapshot_changes(int folder, const struct px_snapshot *before, const struct px_snapshot *after,
                        const struct px_strings *patterns, struct pyexec_file_list *ret);

/* Makes a folder with those above it. The path is relative and checked (px_request_check_path).
 * Fails with invalid_request, "outside sandbox" when a symbolic link stands in the way. */
int px_workspace_make_folder(int folder, const char *path, const char *what, pyexec_error *error);

/* Opens a regular file, made or emptied; folders above it are made. */
int px_workspace_open_write(int folder, const char *path, pyexec_error *error);

/* One step, replacing what is there; folders above `to` are made. */
int px_workspace_rename(int folder, const char *from, const char *to, pyexec_error *error);

/* Opens a regular file for reading; *ret_bytes is its size. */
int px_workspace_open_read(int folder, const char *path, uint64_t *ret_bytes, pyexec_error *error);

/* How many bytes may still be written: what the file system has left, and where the kernel keeps no
 * quota also `quota` (else UINT64_MAX) without the files that are there. */
int px_workspace_room(int folder, uint64_t quota, uint64_t *ret, pyexec_error *error);

/* invalid_request: writing the file failed. */
int px_workspace_full(const char *path, int sys_errno, pyexec_error *error);

/* Writes a file, replacing one that is there; folders above it are made. */
int px_workspace_write(int folder, const char *path, const void *bytes, size_t length, pyexec_error *error);

/* The bytes of a regular file of at most `limit`. */
int px_workspace_read(int folder, const char *path, size_t limit, struct px_buffer *ret, pyexec_error *error);

/* Removes a file, or an empty folder. */
int px_workspace_delete(int folder, const char *path, pyexec_error *error);

/* The entries of one folder ("" is the workspace), at most 20,000. -1: sys_errno is ENOENT, ENOTDIR or others; what
 * is in *ret is the caller's to free then too. */
int px_workspace_list_folder(int folder, const char *path, struct pyexec_file_list *ret, pyexec_error *error);

/* All files. 0, or -1: out of memory; what is in *ret is the caller's to free then too. */
int px_snapshot_list(const struct px_snapshot *snapshot, struct pyexec_file_list *ret);

#endif
