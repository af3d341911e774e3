/* SPDX-License-Identifier: Apache-2.0 */
/* It trusts the program, which is this one, but not what the installer below it says about packages: that is text of an index. */
#include "serve/package_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/retry.h"
#include "base/utf8.h"

#define OWN_PROGRAM "/proc/self/exe"
#define BUILD_OUTPUT_KEPT ((size_t)16 << 10)
#define BUILD_NICE 10 /* runs go before */
enum { EXIT_NOT_STARTED = 127 };

/* ---- Arguments and environment ---- */

struct process_texts {
    char **items;
    size_t count;
    bool failed;
};

static void process_texts_done(struct process_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
}

static void process_texts_add(struct process_texts *texts, const char *before, const char *text, size_t length)
{
    px_auto_buffer struct px_buffer whole = {0};
    px_buffer_add_string(&whole, before);
    px_buffer_add(&whole, text, length);
    px_buffer_add_byte(&whole, '\0');
    char **items = reallocarray(texts->items, texts->count + 2, sizeof *items);
    if (items)
        texts->items = items;
    if (!items || !px_buffer_ok(&whole) || !(items[texts->count] = px_buffer_take(&whole))) {
        texts->failed = true;
        return;
    }
    items[++texts->count] = NULL;
}

static void add_arguments(struct process_texts *texts, const struct px_serve_options *options, const char *packages)
{
    static const char *const first[] = {"pyexec", "env", "cached"};
    for (size_t i = 0; i < PX_COUNT(first); i++)
        process_texts_add(texts, "", first[i], strlen(first[i]));
    if (options->config_file)
        process_texts_add(texts, "--config=", options->config_file, strlen(options->config_file));
    for (const char *line = packages; *line;) {
        size_t length = strcspn(line, "\n");
        process_texts_add(texts, "", line, length);
        line += length + (line[length] == '\n');
    }
}

/* Flags of the server are stronger than its file, so their values go on as variables. */
static void add_environment(struct process_texts *texts, const struct px_serve_options *options)
{
    const struct {
        const char *name, *value;
    } own[] = {{"PYEXEC_ENV_ROOT=", options->env->root},
               {"PYEXEC_ENV_UV=", options->env->uv},
               {"PYEXEC_POLICY_PYTHON_BIN=", options->policy->python_bin}};
    for (char **variable = environ; *variable; variable++) {
        bool replaced = false;
        for (size_t i = 0; i < PX_COUNT(own); i++)
            replaced |= own[i].value && strncmp(*variable, own[i].name, strlen(own[i].name)) == 0;
        if (!replaced)
            process_texts_add(texts, "", *variable, strlen(*variable));
    }
    for (size_t i = 0; i < PX_COUNT(own); i++)
        if (own[i].value)
            process_texts_add(texts, own[i].name, own[i].value, strlen(own[i].value));
}

/* ---- The process ---- */

/* In the child of a process with threads: only calls that are async-signal-safe. */
__attribute__((noreturn)) static void become(char *const *arguments, char *const *environment, int input, int output,
                                             pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    setpriority(PRIO_PROCESS, 0, BUILD_NICE);
    /* It ends with the thread that started it, which waits for it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && dup2(input, STDIN_FILENO) >= 0 &&
        dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0)
        execve(OWN_PROGRAM, arguments, environment);
    _exit(EXIT_NOT_STARTED);
}

int px_package_process_start(struct px_package_process *process, const struct px_serve_options *options,
                             const char *packages, pyexec_error *error)
{
    int ends[2];
    px_auto(process_texts_done) struct process_texts arguments = {0}, environment = {0};
    *process = (struct px_package_process){.output = -1};
    add_arguments(&arguments, options, packages);
    add_environment(&environment, options);
    if (arguments.failed || environment.failed)
        return px_error_oom(error);
    px_auto_fd int input = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (input < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return px_error_exhausted(error, errno, "can't make a pipe");
    px_auto_fd int from = ends[0], to = ends[1];
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(arguments.items, environment.items, input, to, parent);
    if (pid < 0)
        return px_error_exhausted(error, errno, "can't start a process");
    setpgid(pid, pid); /* also here, so that it is a group before it can be killed */
    process->pid = pid;
    process->output = TAKE_FD(from);
    return 0;
}

int px_package_process_read(const struct px_package_process *process, int wait_ms, struct px_buffer *output)
{
    char bytes[4096];
    struct pollfd polled = {process->output, POLLIN, 0};
    if (px_poll(&polled, 1, wait_ms) <= 0)
        return 1;
    ssize_t length = px_read(process->output, bytes, sizeof bytes);
    if (length <= 0)
        return 0;
    px_buffer_add(output, bytes, (size_t)length);
    if (output->length > 2 * BUILD_OUTPUT_KEPT)
        px_buffer_consume(output, output->length - BUILD_OUTPUT_KEPT);
    return 1;
}

void px_package_process_kill(const struct px_package_process *process)
{
    if (process->pid > 1)
        kill(-process->pid, SIGKILL);
}

int px_package_process_end(struct px_package_process *process)
{
    int status = 0;
    pid_t ended = process->pid > 1 ? px_waitpid(process->pid, &status, 0) : -1;
    px_close_fd(&process->output);
    process->pid = 0;
    if (ended < 0)
        return EXIT_NOT_STARTED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- Why it failed ---- */

/* Returns the last line that begins with `start`, without it, as text of its own; NULL: there is none. */
static char *last_line(const char *output, const char *start)
{
    const char *found = NULL;
    for (const char *line = output; *line;) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, start, strlen(start)) == 0)
            found = line + strlen(start);
        line += length + (line[length] == '\n');
    }
    if (!found)
        return NULL;
    px_auto_buffer struct px_buffer text = {0};
    px_utf8_repair(&text, found, strcspn(found, "\n"));
    return px_buffer_take(&text);
}

/* True if the caller can do something about it. */
static bool is_of_packages(const char *message)
{
    static const char *const of_server[] = {"the disk is full", "a file can't be", "can't be reached",
                                            "is not trusted",   "credentials",     ": it failed"};
    for (size_t i = 0; i < PX_COUNT(of_server); i++)
        if (strstr(message, of_server[i]))
            return false;
    return strstr(message, "could not install the packages") || strncmp(message, "requirement ", 12) == 0 ||
           strncmp(message, "one of the packages ", 20) == 0;
}

int px_package_process_explain(int status, const char *output, pyexec_error *error)
{
    px_auto_free char *message = last_line(output, "pyexec: "), *hint = last_line(output, "hint: ");
    if (message && is_of_packages(message)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: %.700s", message);
        return px_error_hint(error, "%.400s", hint ? hint : "Ask for other packages or versions.");
    }
    px_error_set(error, PYEXEC_INTERNAL, "packages: the server could not make the environment%s",
                 message && strstr(message, "the disk is full")   ? ": its disk is full"
                 : message && strstr(message, "can't be reached") ? ": the package index can't be reached"
                 : status == 128 + SIGKILL                        ? ": the process was killed"
                                                                  : "");
    return px_error_hint(error,
                         "The reason is in the server's log, for its operator. Try again later, or without packages.");
}
