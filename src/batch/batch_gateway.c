/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "base/retry.h"
#include "base/service_manager.h"
#include "base/texts.h"
#include "cli/commands.h"
#include "cli/private_socket.h"

#define GATEWAY_START_NS (10000 * PX_NS_PER_MS) /* how long it may take to reach NATS */
#define GATEWAY_ASK_MS 100
#define GATEWAY_TEXT_BYTES 2048

/* ---- The process ---- */

static void add_arguments(struct px_texts *ret, const struct cli_nats_flags *flags, const char *config)
{
    px_texts_add(ret, "pyexec");
    px_texts_add(ret, "serve");
    for (size_t i = 0; i < flags->urls.count; i++) {
        px_texts_add(ret, "--nats");
        px_texts_add(ret, flags->urls.items[i]);
    }
    if (flags->creds) {
        px_texts_add(ret, "--creds");
        px_texts_add(ret, flags->creds);
    }
    if (config) {
        px_texts_add(ret, "--config");
        px_texts_add(ret, config);
    }
}

/* In the new process. Ctrl-C on the terminal is only for its parent. */
static void become_gateway(struct px_texts *arguments, int listener, int log, pid_t parent)
{
    char pid[24];
    int input = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (input < 0 || px_process_begin(input, log, parent) < 0)
        return;
    setpgid(0, 0);
    if (listener == PX_SERVICE_FD ? fcntl(listener, F_SETFD, 0) < 0 : dup2(listener, PX_SERVICE_FD) < 0)
        return;
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    unsetenv("LISTEN_FDNAMES");
    unsetenv("NOTIFY_SOCKET");
    setenv("PYEXEC_SERVE_LISTEN", "", 1); /* addresses of the configuration are those of another server */
    execv("/proc/self/exe", arguments->items);
}

static int start_process(struct batch_gateway *gateway, struct px_texts *arguments, pyexec_error *error)
{
    int log[2];
    px_auto_fd int listener = -1;
    if (arguments->failed)
        return px_error_oom(error);
    if (cli_private_socket(&listener, &gateway->place, error) < 0)
        return -1;
    if (fcntl(gateway->place, F_SETFD, FD_CLOEXEC) < 0 || pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
        return px_error_exhausted(error, errno, "can't make a pipe");
    pid_t parent = getpid(), process = fork();
    if (process == 0) {
        become_gateway(arguments, listener, log[1], parent);
        _exit(CLI_EXIT_FAILED);
    }
    close(log[1]);
    gateway->log = log[0];
    if (process < 0)
        return px_error_exhausted(error, errno, "can't start the gateway");
    gateway->process = process;
    return 0;
}

/* ---- What it says ---- */

/* Says why it has ended: a signal, or its last line, without the beginning that a program's messages have. */
static int report_end(struct batch_gateway *gateway, pyexec_error *error)
{
    int status = 0;
    (void)!px_waitpid(gateway->process, &status, 0);
    gateway->process = 0;
    if (WIFSIGNALED(status)) {
        px_error_set(error, PYEXEC_INTERNAL, "the process that connects to NATS was killed by signal %d",
                     WTERMSIG(status));
        return px_error_hint(error, "Is the machine short of memory? `dmesg` tells what the kernel has killed.");
    }
    static const char start[] = "pyexec: ";
    const char *text = px_buffer_shown(&gateway->text), *line = text;
    for (const char *at = text; (at = strstr(at, start)); at++)
        line = at + sizeof start - 1;
    const char *hint = strstr(line, "\nhint: ");
    px_error_set(error, PYEXEC_INTERNAL, "the process that connects to NATS has ended: %.*s", (int)strcspn(line, "\n"),
                 line);
    return px_error_hint(error, "%.*s", hint ? (int)strcspn(hint + 7, "\n") : 0, hint ? hint + 7 : "");
}

int batch_gateway_read(struct batch_gateway *gateway, pyexec_error *error)
{
    while (gateway->log >= 0) {
        char *room = px_buffer_reserve(&gateway->text, GATEWAY_TEXT_BYTES);
        ssize_t n = room ? px_read(gateway->log, room, GATEWAY_TEXT_BYTES) : -1;
        if (n < 0)
            return 0;
        if (n == 0)
            break;
        gateway->text.length += (size_t)n;
        gateway->text.data[gateway->text.length] = '\0';
        if (gateway->text.length > GATEWAY_TEXT_BYTES)
            px_buffer_consume(&gateway->text, gateway->text.length - GATEWAY_TEXT_BYTES);
    }
    px_close_fd(&gateway->log);
    return report_end(gateway, error);
}

/* ---- The start ---- */

static bool is_ready(const struct server *server)
{
    struct server_answer answer = {.fd = -1};
    pyexec_error ignored;
    bool ready = server_ask(server, &answer, "GET", "/readyz", "", 0, &ignored) == 0 && answer.status == 200;
    server_close(&answer);
    return ready;
}

int batch_gateway_start(struct batch_gateway *ret, const struct cli_nats_flags *flags, const char *config,
                        struct server *ret_server, pyexec_error *error)
{
    px_auto(px_texts_done) struct px_texts arguments = {0};
    add_arguments(&arguments, flags, config);
    if (start_process(ret, &arguments, error) < 0)
        return -1;
    *ret_server = (struct server){.name = "the process that connects to NATS"};
    snprintf(ret_server->path, sizeof ret_server->path, "/proc/self/fd/%d", ret->place);
    int64_t end = px_now_ns() + GATEWAY_START_NS;
    while (!is_ready(ret_server)) {
        struct pollfd polled = {.fd = ret->log, .events = POLLIN};
        (void)!px_poll(&polled, 1, GATEWAY_ASK_MS);
        if (batch_gateway_read(ret, error) < 0)
            return -1;
        if (px_now_ns() > end) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "--nats: no NATS server was reached in 10 seconds");
            return px_error_hint(
                error,
                "Check that nats-server runs and lets this user connect. `pyexec fleet list --nats URL` shows the reason.");
        }
    }
    return 0;
}

void batch_gateway_end(struct batch_gateway *gateway)
{
    if (gateway->process > 1) {
        kill(gateway->process, SIGKILL);
        (void)!px_waitpid(gateway->process, NULL, 0);
    }
    px_close_fd(&gateway->place);
    px_close_fd(&gateway->log);
    px_buffer_done(&gateway->text);
}
