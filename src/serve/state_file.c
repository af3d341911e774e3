/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"

#define NEW_FILE PX_STATE_FILE ".new"
#define ASIDE_FILE PX_STATE_FILE ".unreadable"

/* A user who can write to the file could make the server believe in sessions that never existed. */
static int check_owner(const struct stat *status, const char *what, const char *path, pyexec_error *error)
{
    if (status->st_uid != geteuid() && status->st_uid != 0)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "state_dir: the %s '%s' belongs to user %u", what, path,
                            (unsigned)status->st_uid);
    if (status->st_mode & (S_IWGRP | S_IWOTH))
        return px_error_set(error, PYEXEC_INVALID_POLICY, "state_dir: others may write to the %s '%s'", what, path);
    return 0;
}

static int open_folder(const char *path)
{
    int fd = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT && mkdir(path, 0700) == 0)
        fd = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd;
}

int px_state_file_open(struct px_state_file *file, const char *folder, pyexec_error *error)
{
    struct stat status;
    px_auto_fd int fd = open_folder(folder);
    *file = (struct px_state_file){-1, -1};
    if (fd < 0 || fstat(fd, &status) < 0)
        return px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "state_dir: can't open the folder '%s'", folder);
    if (check_owner(&status, "folder", folder, error) < 0)
        return -1;
    /* Some file systems have no locks. There the administrator must make sure that only one server uses the
     * folder. */
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "state_dir: another server uses the folder '%s'", folder);
    file->folder = TAKE_FD(fd);
    return 0;
}

void px_state_file_close(struct px_state_file *file)
{
    px_close_fd(&file->fd);
    px_close_fd(&file->folder);
}

int px_state_file_read(const struct px_state_file *file, struct px_buffer *ret, pyexec_error *error)
{
    struct stat status;
    /* O_NONBLOCK because the file may be a FIFO, which open() would wait for. */
    px_auto_fd int fd = px_openat(file->folder, PX_STATE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &status) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "state_dir: can't read '%s'", PX_STATE_FILE);
    if (!S_ISREG(status.st_mode))
        return px_error_set(error, PYEXEC_INTERNAL, "state_dir: '%s' is not a file", PX_STATE_FILE);
    if (check_owner(&status, "file", PX_STATE_FILE, error) < 0)
        return -1;
    if (px_read_all(fd, ret, PX_STATE_FILE_MAX) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "state_dir: can't read '%s'", PX_STATE_FILE);
    return 0;
}

void px_state_file_put_aside(const struct px_state_file *file)
{
    /* When this fails, replacing the file fails too and reports it. */
    (void)!renameat(file->folder, PX_STATE_FILE, file->folder, ASIDE_FILE);
}

/* Writes a new file and syncs it to the disk before it gets the final name. */
static int make_new(struct px_state_file *file, const char *bytes, size_t length)
{
    px_auto_fd int fd =
        px_openat(file->folder, NEW_FILE, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || px_write_all(fd, bytes, length) < 0 || px_fsync(fd) < 0 ||
        renameat(file->folder, NEW_FILE, file->folder, PX_STATE_FILE) < 0)
        return -1;
    px_close_fd(&file->fd);
    file->fd = TAKE_FD(fd);
    return px_fsync(file->folder);
}

int px_state_file_replace(struct px_state_file *file, const char *bytes, size_t length)
{
    unlinkat(file->folder, NEW_FILE, 0); /* left by a server that was killed */
    int status = make_new(file, bytes, length), saved = errno;
    if (status < 0)
        unlinkat(file->folder, NEW_FILE, 0); /* free the space on a full disk */
    errno = saved;
    return status;
}

int px_state_file_append(struct px_state_file *file, const char *bytes, size_t length)
{
    return px_write_all(file->fd, bytes, length);
}

int px_state_file_sync(struct px_state_file *file)
{
    return px_fdatasync(file->fd);
}
