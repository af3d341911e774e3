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
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/process.h"
#include "base/retry.h"
#include "base/texts.h"

#define OWN_PROGRAM "/proc/self/exe"
#define BUILD_OUTPUT_KEPT ((size_t)16 << 10)
#define BUILD_NICE 10 /* runs go before */

/* ---- Arguments and environment ---- */

static void add_arguments(struct px_texts *texts, const struct px_serve_options *options, const char *packages)
{
    static const char *const first[] = {"pyexec", "env", "cached", "--json"};
    for (size_t i = 0; i < PX_COUNT(first); i++)
        px_texts_add(texts, first[i]);
    if (options->config_file)
        px_texts_addf(texts, "--config=%s", options->config_file);
    for (const char *line = packages; *line;) {
        size_t length = strcspn(line, "\n");
        px_texts_addf(texts, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

/* Flags of the server are stronger than its file, so their values go on as variables. */
static void add_environment(struct px_texts *texts, const struct px_serve_options *options)
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
            px_texts_add(texts, *variable);
    }
    for (size_t i = 0; i < PX_COUNT(own); i++)
        if (own[i].value)
            px_texts_addf(texts, "%s%s", own[i].name, own[i].value);
}

/* ---- The process ---- */

/* In the child of a process with threads: only calls that are async-signal-safe. */
__attribute__((noreturn)) static void become(char *const *arguments, char *const *environment, int input, int output,
                                             pid_t parent)
{
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    setpriority(PRIO_PROCESS, 0, BUILD_NICE);
    if (px_process_begin(input, output, parent) == 0)
        execve(OWN_PROGRAM, arguments, environment);
    _exit(PX_EXIT_NOT_STARTED);
}

int px_package_process_start(struct px_package_process *process, const struct px_serve_options *options,
                             const char *packages, pyexec_error *error)
{
    int ends[2];
    px_auto(px_texts_done) struct px_texts arguments = {0}, environment = {0};
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
        return PX_EXIT_NOT_STARTED;
    return px_process_exit_status(status);
}

/* ---- Why it failed ---- */

/* Its answer is the last line that begins an object. */
static const char *find_answer(const char *output)
{
    const char *found = NULL;
    for (const char *at = output; (at = strchr(at, '{')); at++)
        if (at == output || at[-1] == '\n')
            found = at;
    return found;
}

size_t px_package_process_said(const char *output)
{
    const char *answer = find_answer(output);
    return answer ? (size_t)(answer - output) : strlen(output);
}

/* What callers may know about a fault of the server itself. */
static const char *fault_of_server(int status, int sys_errno)
{
    if (sys_errno == ENOSPC || sys_errno == EDQUOT)
        return ": its disk is full";
    if (sys_errno == ENETUNREACH)
        return ": the package index can't be reached";
    return status == 128 + SIGKILL ? ": the process was killed" : "";
}

int px_package_process_explain(int status, const char *output, pyexec_error *error)
{
    const char *answer = find_answer(output), *code = "", *message = "", *hint = "";
    int sys_errno = 0;
    json_error_t problem;
    px_auto_json json_t *object =
        answer ? px_json_read(answer, strlen(answer), JSON_DISABLE_EOF_CHECK, &problem) : NULL;
    (void)!json_unpack(object, "{s:s, s:s, s?s, s?i}", "code", &code, "message", &message, "hint", &hint, "errno",
                       &sys_errno);
    if (strcmp(code, pyexec_code_name(PYEXEC_INVALID_REQUEST)) == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: %.700s", message);
        return px_error_hint(error, "%.400s", *hint ? hint : "Ask for other packages or versions.");
    }
    px_error_set(error, PYEXEC_INTERNAL, "packages: the server could not make the environment%s",
                 fault_of_server(status, sys_errno));
    return px_error_hint(error,
                         "The reason is in the server's log, for its operator. Try again later, or without packages.");
}
