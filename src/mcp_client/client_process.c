/* SPDX-License-Identifier: Apache-2.0 */
/* A server's process. pyexec does not start the server itself, but a keeper (client_keeper.c), which starts it. The keeper ends
 * the server and all processes that the server has started when the descriptor `life` is closed. The kernel closes it when
 * pyexec ends, also when pyexec is killed. */
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
#include "base/libexec.h"
#include "base/retry.h"
#include "mcp_client/client_private.h"

#define KEEPER_LIFE_FD 3
#define KEEPER_END_NS INT64_C(5000000000)

struct pipes {
    int ends[4][2]; /* the pipes input, output, errors, life; [0] is the end to read, [1] the end to write */
};

static void pipes_done(struct pipes *pipes)
{
    for (size_t i = 0; i < PX_COUNT(pipes->ends); i++)
        for (int end = 0; end < 2; end++)
            px_close_fd(&pipes->ends[i][end]);
}

/* Returns the argv of the keeper. The caller frees the array, but not its strings. */
static char **keeper_arguments(const struct px_client_entry *entry)
{
    static const char *const head[] = {"pyexec", "mcp-keeper", "3"};
    size_t count = 0, at = 0;
    while (entry->arguments[count])
        count++;
    char **arguments = calloc(count + PX_COUNT(head) + 2, sizeof(char *));
    if (!arguments)
        return NULL;
    for (; at < PX_COUNT(head); at++)
        arguments[at] = (char *)(uintptr_t)head[at];
    arguments[at++] = entry->folder;
    for (size_t i = 0; i < count; i++)
        arguments[at++] = entry->arguments[i];
    return arguments;
}

static int spawn(const struct pipes *pipes, const struct px_client_entry *entry, pid_t *ret)
{
    px_auto_free char **arguments = keeper_arguments(entry);
    if (!arguments)
        return ENOMEM;
    const int descriptors[] = {pipes->ends[0][0], pipes->ends[1][1],
                               pipes->ends[2][1], [KEEPER_LIFE_FD] = pipes->ends[3][0]};
    return px_libexec_spawn(ret, "/proc/self/exe", arguments, entry->environment, descriptors, PX_COUNT(descriptors));
}

int px_client_process_start(struct px_client_process *process, const struct px_client_entry *entry, pyexec_error *error)
{
    px_auto(pipes_done) struct pipes pipes = {{{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}};
    for (size_t i = 0; i < PX_COUNT(pipes.ends); i++)
        if (pipe2(pipes.ends[i], O_CLOEXEC) < 0)
            return px_error_exhausted(error, errno, "can't make the pipes of an MCP server");
    int failed = spawn(&pipes, entry, &process->keeper);
    if (failed)
        return px_error_exhausted(error, failed, "can't start the process of an MCP server");
    process->input = TAKE_FD(pipes.ends[0][1]);
    process->output = TAKE_FD(pipes.ends[1][0]);
    process->errors = TAKE_FD(pipes.ends[2][0]);
    process->life = TAKE_FD(pipes.ends[3][1]);
    fcntl(process->input, F_SETFL, O_NONBLOCK);
    fcntl(process->output, F_SETFL, O_NONBLOCK);
    fcntl(process->errors, F_SETFL, O_NONBLOCK);
    return 0;
}

int px_client_process_end(struct px_client_process *process)
{
    int status = -1;
    bool killed = false;
    if (process->keeper <= 1)
        return -1;
    px_close_fd(&process->input);
    px_close_fd(&process->life);
    px_close_fd(&process->output);
    int64_t deadline = px_now_ns() + KEEPER_END_NS;
    pid_t done;
    while ((done = px_waitpid(process->keeper, &status, WNOHANG)) == 0) {
        /* The keeper itself needs two seconds at most, the time that the server has to end. */
        if (px_now_ns() > deadline && !killed) {
            kill(process->keeper, SIGKILL);
            killed = true;
        }
        px_sleep_ns(2000000);
    }
    px_close_fd(&process->errors);
    process->keeper = 0;
    return done < 0 ? -1 : status;
}
