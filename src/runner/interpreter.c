/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/interpreter.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/paths.h"
#include "base/python_versions.h"
#include "base/retry.h"
#include "protocol/launch.h"

#define SCRIPT_TIMEOUT_MS 10000

static int not_found(const char *python_bin, int sys_errno, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, sys_errno, "python_bin: can't run '%s'", python_bin);
    return px_error_hint(error, "Install python3, or set python_bin (or PYEXEC_POLICY_PYTHON_BIN) "
                                "to the path of a CPython 3.8 or later.");
}

struct found_path {
    char *path;
    size_t size;
};

static bool take_path(void *closure, const char *program)
{
    const struct found_path *found = closure;
    return (size_t)snprintf(found->path, found->size, "%s", program) < found->size;
}

int px_python_refused(const char *python, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: '%s' is %s, which pyexec can't use", python,
                 what[0] ? what : "a Python that does not know its own path");
    return px_error_hint(error, "Set python_bin (PYEXEC_POLICY_PYTHON_BIN) to the path of a " PX_PYTHON_VERSIONS ".");
}

static int look_up(const char *python_bin, char *path, size_t size, pyexec_error *error)
{
    struct stat status;
    if (strchr(python_bin, '/')) {
        char here[PX_PATH_MAX] = "";
        if (python_bin[0] != '/' && !getcwd(here, sizeof here))
            return not_found(python_bin, errno, error);
        if ((size_t)snprintf(path, size, "%s%s%s", here, here[0] ? "/" : "", python_bin) >= size)
            return not_found(python_bin, ENAMETOOLONG, error);
        if (access(path, X_OK) < 0 || stat(path, &status) < 0)
            return not_found(python_bin, errno, error);
        if (!S_ISREG(status.st_mode))
            return not_found(python_bin, EACCES, error);
        return 0;
    }
    struct found_path found = {path, size};
    return px_path_search(python_bin, take_path, &found) ? 0 : not_found(python_bin, ENOENT, error);
}

static bool is_script(const char *path)
{
    char head[2] = "";
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC, 0);
    return fd >= 0 && px_read(fd, head, 2) == 2 && head[0] == '#' && head[1] == '!';
}

/* Reads the output of the process until it ends or the time is over. */
static ssize_t read_answer(int fd, char *answer, size_t size)
{
    int64_t deadline = px_now_ns() + (int64_t)SCRIPT_TIMEOUT_MS * 1000000;
    size_t length = 0;
    while (length < size - 1) {
        int64_t left = (deadline - px_now_ns()) / 1000000;
        struct pollfd polled = {fd, POLLIN, 0};
        int ready = left > 0 ? px_poll(&polled, 1, (int)left) : 0;
        if (ready <= 0)
            return -1;
        ssize_t n = px_read(fd, answer + length, size - 1 - length);
        if (n <= 0)
            break;
        length += (size_t)n;
    }
    answer[length] = '\0';
    return (ssize_t)length;
}

/* Another implementation may be nothing but a script (GraalPy on a JVM), with no program of its own or an empty name. */
static const char who[] = "import sys\n"
                          "name = sys.implementation.name\n"
                          "other = name + ' for Python %d.%d' % sys.version_info[:2]\n"
                          "print('pyexec:' + (sys.executable if name == 'cpython' else other))\n";

/* Starts the script in its own process group, so that the whole group can be ended. */
static pid_t spawn_script(const char *path, int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    bool placed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) == 0 &&
                  posix_spawn_file_actions_adddup2(&actions, output, 1) == 0 &&
                  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) == 0;
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    char *const arguments[] = {(char *)(uintptr_t)path, "-I", "-S", "-c", (char *)(uintptr_t)who, NULL};
    pid_t pid;
    int failed = placed ? posix_spawn(&pid, path, &actions, &attributes, arguments, environ) : ENOMEM;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    errno = failed;
    return failed ? -1 : pid;
}

static int resolve_script(const char *python_bin, char *path, size_t size, pyexec_error *error)
{
    int ends[2];
    char answer[PX_PATH_MAX + 64];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return px_error_exhausted(error, errno, "can't make a pipe");
    px_auto_fd int output = ends[0];
    pid_t pid = spawn_script(path, ends[1]);
    int saved = errno;
    close(ends[1]);
    if (pid < 0)
        return not_found(python_bin, saved, error);
    ssize_t n = read_answer(output, answer, sizeof answer);
    kill(-pid, SIGKILL);
    (void)!px_waitpid(pid, NULL, 0);
    if (n < 0) {
        px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: the launcher script '%s' does not end within %d s",
                     path, SCRIPT_TIMEOUT_MS / 1000);
        return px_error_hint(error, "Set python_bin to the " PX_PYTHON_VERSIONS " that the script starts.");
    }
    char *found = strstr(answer, "pyexec:"), *end = found ? strchr(found, '\n') : NULL;
    if (!end)
        return px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: the script '%s' does not start a Python",
                            path);
    *end = '\0';
    found += strlen("pyexec:");
    if (found[0] != '/')
        return px_python_refused(path, found, error);
    if ((size_t)snprintf(path, size, "%s", found) >= size || access(path, X_OK) < 0)
        return not_found(python_bin, errno, error);
    return 0;
}

int px_python_resolve(const char *python_bin, char *path, size_t size, pyexec_error *error)
{
    if (look_up(python_bin, path, size, error) < 0)
        return -1;
    return is_script(path) ? resolve_script(python_bin, path, size, error) : 0;
}

/* The loader is the program of the segment PT_INTERP (elf(5)): /lib64/ld-linux-x86-64.so.2, /lib/ld-musl-x86_64.so.1. */
enum px_libc px_python_libc(const char *path)
{
    Elf64_Ehdr head;
    Elf64_Phdr segment;
    char loader[PX_PATH_MAX] = "";
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || px_pread(fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return PX_LIBC_GLIBC;
    for (size_t i = 0; i < head.e_phnum; i++)
        if (px_pread(fd, &segment, sizeof segment, (off_t)(head.e_phoff + i * sizeof segment)) == sizeof segment &&
            segment.p_type == PT_INTERP) {
            (void)!px_pread(fd, loader, sizeof loader - 1, (off_t)segment.p_offset);
            break;
        }
    return strstr(loader, "/ld-musl-") ? PX_LIBC_MUSL : PX_LIBC_GLIBC;
}

void px_python_owner(const char *path, uid_t *ret_uid, gid_t *ret_gid)
{
    char folder[PX_PATH_MAX];
    struct stat status;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash && slash != folder)
        *slash = '\0';
    *ret_uid = 0;
    *ret_gid = 0;
    if (stat(folder, &status) == 0) {
        *ret_uid = status.st_uid;
        *ret_gid = status.st_gid;
    }
}

static int64_t changed_ns(const struct stat *status)
{
    return px_timespec_ns(status->st_mtim);
}

/* From PREFIX/bin/python3, finds PREFIX/lib/python3.x/site-packages, the folder that pip changes. (glob(3) is not
 * used: that of glibc 2.36 frees memory twice when there is no more memory.) */
static int64_t packages_ns(const char *python)
{
    static const char *const names[] = {"site-packages", "dist-packages"};
    char path[PX_PATH_MAX];
    const char *slash = strrchr(python, '/');
    int64_t newest = 0;
    snprintf(path, sizeof path, "%.*s/../lib", slash ? (int)(slash - python) : 0, python);
    DIR *lib = opendir(path);
    const struct dirent *item;
    while (lib && (item = readdir(lib)))
        for (size_t i = 0; i < PX_COUNT(names) && strncmp(item->d_name, "python3", 7) == 0; i++) {
            struct stat status;
            snprintf(path, sizeof path, "%s/%s", item->d_name, names[i]);
            if (fstatat(dirfd(lib), path, &status, 0) == 0 && changed_ns(&status) > newest)
                newest = changed_ns(&status);
        }
    if (lib)
        closedir(lib);
    return newest;
}

void px_python_stamp_take(const char *path, struct px_python_stamp *ret)
{
    struct stat status;
    *ret = (struct px_python_stamp){0};
    if (stat(path, &status) == 0) {
        ret->device = status.st_dev;
        ret->inode = status.st_ino;
        ret->executable_ns = changed_ns(&status);
    }
    ret->packages_ns = packages_ns(path);
}
