/* SPDX-License-Identifier: Apache-2.0 */
/* It trusts the operator's variables and the programs that it starts: they run outside of any sandbox, with the operator's
 * rights. */
#include "env_build/env_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/process.h"
#include "base/retry.h"

#define OUTPUT_KEPT ((size_t)64 << 10)
#define LOCK_FD 3

/* ---- Their environment ---- */

/* A name that ends with '*' stands for all names that begin so. */
static const char *const kept[] = {
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    /* the way to the index */
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_CONFIG_FILE",
    "PIP_CACHE_DIR",
    "PIP_NO_CACHE_DIR",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_KEYRING_PROVIDER",
    "PIP_CONSTRAINT",
    "PIP_PRE",
    "UV_INDEX*",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_CONFIG_FILE",
    "UV_NO_CONFIG",
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_OFFLINE",
    "UV_HTTP_*",
    "UV_REQUEST_TIMEOUT",
    "UV_KEYRING_PROVIDER",
    "UV_CONCURRENT_*",
    "UV_CONSTRAINT",
    "UV_EXCLUDE_NEWER",
    "UV_PRERELEASE",
    "UV_CREDENTIALS_DIR",
    "UV_PYTHON_INSTALL_DIR",
    "UV_TORCH_BACKEND",
};

static const char *const kept_for_builds[] = {
    "CC",
    "CXX",
    "FC",
    "AR",
    "LD",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "MAKEFLAGS",
    "PKG_CONFIG*",
    "CMAKE_*",
    "CARGO_*",
    "RUST*",
    "LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "LD_LIBRARY_PATH",
};

static bool is_variable(const char *variable, const char *name)
{
    size_t length = strlen(name);
    if (length && name[length - 1] == '*')
        return strncmp(variable, name, length - 1) == 0;
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_one_of(const char *variable, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_variable(variable, names[i]))
            return true;
    return false;
}

void env_command_environment(struct px_texts *ret, bool build, const struct px_texts *names)
{
    for (char **variable = environ; *variable; variable++)
        if (is_one_of(*variable, kept, PX_COUNT(kept)) ||
            (build && is_one_of(*variable, kept_for_builds, PX_COUNT(kept_for_builds))) ||
            (names && is_one_of(*variable, (const char *const *)names->items, names->count)))
            px_texts_add(ret, *variable);
    px_texts_add(ret, "PIP_NO_INPUT=1");
    px_texts_add(ret, "PIP_DISABLE_PIP_VERSION_CHECK=1");
    px_texts_add(ret, "UV_PYTHON_DOWNLOADS=never");
    px_texts_add(ret, "UV_NO_PROGRESS=1");
    px_texts_add(ret, "NO_COLOR=1");
}

/* ---- Running ---- */

static void become(const struct env_command *command, int input, int output, pid_t parent)
{
    umask(022);
    if (px_process_begin(input, output, parent) < 0)
        _exit(PX_EXIT_NOT_STARTED);
    if (command->folder && chdir(command->folder) < 0)
        _exit(PX_EXIT_NOT_STARTED);
    if (command->lock >= 0 &&
        (command->lock == LOCK_FD ? fcntl(LOCK_FD, F_SETFD, 0) : dup2(command->lock, LOCK_FD)) < 0)
        _exit(PX_EXIT_NOT_STARTED);
    execve(command->arguments.items[0], command->arguments.items, command->environment->items);
    dprintf(STDERR_FILENO, "can't start '%s': %s\n", command->arguments.items[0], strerror(errno));
    _exit(PX_EXIT_NOT_STARTED);
}

/* Keeps the end of the output. */
static int collect_output(int fd, bool show, struct px_buffer *output)
{
    char bytes[4096];
    ssize_t length;
    while ((length = px_read(fd, bytes, sizeof bytes)) > 0) {
        if (show && px_write_all(STDERR_FILENO, bytes, (size_t)length) < 0)
            show = false;
        px_buffer_add(output, bytes, (size_t)length);
        if (output->length > 2 * OUTPUT_KEPT)
            px_buffer_consume(output, output->length - OUTPUT_KEPT);
    }
    if (output->length > OUTPUT_KEPT)
        px_buffer_consume(output, output->length - OUTPUT_KEPT);
    return length < 0 || !px_buffer_ok(output) ? -1 : 0;
}

int env_command_run(const struct env_command *command, struct px_buffer *output, pyexec_error *error)
{
    int ends[2] = {-1, -1}, status = 0;
    if (command->arguments.failed || command->environment->failed)
        return px_error_oom(error);
    px_auto_fd int input = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (input < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return px_error_exhausted(error, errno, "can't make a pipe");
    px_auto_fd int from = ends[0], to = ends[1];
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(command, input, to, parent);
    px_close_fd(&to);
    if (pid < 0)
        return px_error_exhausted(error, errno, "can't start a process");
    int collected = collect_output(from, command->show, output);
    if (px_waitpid(pid, &status, 0) != pid)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't wait for '%s'", command->arguments.items[0]);
    if (collected < 0)
        return px_error_oom(error);
    return px_process_exit_status(status);
}
