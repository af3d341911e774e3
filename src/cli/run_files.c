/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the files that a script made below a folder of the host.
 *
 * The names come from a hostile child. They are taken apart here, and every step below the
 * folder goes through openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so that neither
 * a name nor a symlink that lies in the folder leads out of it. Only regular files are
 * written, never executable ones, and nothing is ever deleted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"
#include "cli/run_command.h"

#define RUN_FILE_PATH_MAX 4096

/* True if each part of a relative path is a plain name. */
static bool path_is_plain(const char *path, size_t length)
{
    if (!length || length >= RUN_FILE_PATH_MAX || strlen(path) != length)
        return false;
    for (const char *part = path;; part++) {
        size_t part_length = strcspn(part, "/");
        if (!part_length || (part_length <= 2 && strspn(part, ".") >= part_length))
            return false;
        part += part_length;
        if (!*part)
            return true;
    }
}

/* Opens the folder for a file and makes the folders that are missing. `path` is cut into parts; *ret_name is
 * its last. Returns -1 with errno. */
static int open_parent(int folder, char *path, const char **ret_name)
{
    px_auto_fd int parent = fcntl(folder, F_DUPFD_CLOEXEC, 3);
    char *part = path, *slash;
    while (parent >= 0 && (slash = strchr(part, '/'))) {
        *slash = 0;
        if (mkdirat(parent, part, 0777) < 0 && errno != EEXIST)
            return -1;
        int next = px_open_beneath(parent, part, O_PATH | O_DIRECTORY, 0);
        px_close_fd(&parent);
        parent = next;
        part = slash + 1;
    }
    *ret_name = part;
    return TAKE_FD(parent);
}

static int write_file(int folder, const char *path, const char *bytes, size_t length, pyexec_error *error)
{
    char parts[RUN_FILE_PATH_MAX];
    const char *name = NULL;
    snprintf(parts, sizeof parts, "%s", path);
    px_auto_fd int parent = open_parent(folder, parts, &name);
    /* O_NONBLOCK: opening an existing pipe must not make us wait. */
    px_auto_fd int fd =
        parent < 0 ? -1 : px_open_beneath(parent, name, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0666);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) < 0 || !S_ISREG(facts.st_mode)) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, fd < 0 ? errno : ENXIO, "--output: can't create '%s'", path);
        return px_error_hint(error, "Symbolic links, pipes and devices are not written to; "
                                    "give an empty folder of your own.");
    }
    if (px_ftruncate(fd, 0) < 0 || px_write_all(fd, bytes, length) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--output: can't write '%s'", path);
        return px_error_hint(error, "Free some space, or give another folder.");
    }
    return 0;
}

/* One row of the result's `files`. Sets *ret_skipped if the result does not have its content. */
static int write_row(int folder, const struct run_file *file, bool *ret_skipped, pyexec_error *error)
{
    const char *path = file->path, *content = file->content;
    if (strcmp(file->change, "deleted") == 0)
        return 0;
    if (!path_is_plain(path, strlen(path))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--output: the name '%s' is refused", path);
        return px_error_hint(error, "The script chose this name, and it is not a plain relative path.");
    }
    *ret_skipped = !content;
    return content ? write_file(folder, path, content, file->length, error) : 0;
}

static int open_folder(const char *path, pyexec_error *error)
{
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--output: can't make '%s'", path);
        px_error_hint(error, "Use a writable directory, or a new one inside a writable directory.");
        return -1;
    }
    int fd = px_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--output: can't open '%s'", path);
        px_error_hint(error, "Give a folder.");
    }
    return fd;
}

int run_files_write(const char *folder_path, const struct run_outcome *outcome, pyexec_error *error)
{
    px_auto_fd int folder = open_folder(folder_path, error);
    if (folder < 0)
        return -1;
    size_t skipped = 0;
    for (size_t i = 0; i < outcome->file_count; i++) {
        bool row_skipped = false;
        if (write_row(folder, &outcome->files[i], &row_skipped, error) < 0)
            return -1;
        skipped += row_skipped;
    }
    if (!outcome->files_truncated)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--output: not all files came back (%zu without content)", skipped);
    return px_error_hint(error, "A result carries at most 1000 files and 8 MiB of content; "
                                "name the ones you need with --return-files, or work in a "
                                "folder of the host with --workspace.");
}
