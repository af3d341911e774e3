/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of one MCP server: a separate process with one thread. It starts the server. When the server ends, or when pyexec
 * has ended, the keeper ends every process that the server has started. It also finds those in the background: a process whose
 * parent ends becomes a child of the keeper (PR_SET_CHILD_SUBREAPER). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/process.h"
#include "base/retry.h"
#include "mcp_client/mcp_client.h"

#define KEEPER_GRACE_MS 1000 /* the time to end by itself, after the end of input and again after SIGTERM */

enum { FAILED = 127 };

static void run_server(char **argv, const char *folder, int life)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(life);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (*folder && chdir(folder) < 0)
        fprintf(stderr, "can't change to the folder '%s': %s\n", folder, strerror(errno));
    else if (execvp(argv[0], argv) < 0)
        fprintf(stderr, "can't start '%s': %s\n", argv[0], strerror(errno));
    _exit(FAILED);
}

/* Sends the signal to every descendant of this process, to each parent before its children. Returns how many they are. */
static size_t signal_children_of(pid_t parent, int number, int depth)
{
    char path[64], text[16384];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    ssize_t length = px_read_small_file(AT_FDCWD, path, text, sizeof text);
    char *at = length > 0 ? text : NULL;
    while (at && *at) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        at = end;
        if (pid <= 1)
            continue;
        count++;
        kill((pid_t)pid, number);
        if (depth < 40)
            count += signal_children_of((pid_t)pid, number, depth + 1);
    }
    return count;
}

/* Reaps the children that have ended. Sets *status and *ended if the server is one of them. Returns true while there are children
 * that have not ended. */
static bool reap(pid_t server, int *status, bool *ended)
{
    int one;
    pid_t pid;
    while ((pid = px_waitpid(-1, &one, WNOHANG)) > 0)
        if (pid == server) {
            *status = one;
            *ended = true;
        }
    return pid == 0;
}

/* Waits until all children have ended, for at most `ms`. Returns true if none is left. */
static bool none_left(pid_t server, int *status, bool *ended, int signals, int64_t ms)
{
    int64_t deadline = px_now_ns() + ms * 1000000;
    while (reap(server, status, ended)) {
        struct pollfd polled = {signals, POLLIN, 0};
        struct signalfd_siginfo info;
        int64_t left = (deadline - px_now_ns()) / 1000000;
        if (left <= 0)
            return false;
        if (px_poll(&polled, 1, (int)left + 1) > 0)
            (void)!px_read(signals, &info, sizeof info);
    }
    return true;
}

static void end_all(pid_t server, int *status, bool *ended, int signals, bool gently)
{
    if (gently && none_left(server, status, ended, signals, KEEPER_GRACE_MS))
        return;
    signal_children_of(getpid(), SIGTERM, 0);
    if (none_left(server, status, ended, signals, gently ? KEEPER_GRACE_MS : 200))
        return;
    do
        signal_children_of(getpid(), SIGKILL, 0);
    while (!none_left(server, status, ended, signals, 20));
}

int px_client_keeper(int argc, char **argv)
{
    sigset_t handled;
    int life = argc > 2 ? atoi(argv[0]) : -1, status = 0;
    bool ended = false;
    if (life < 3)
        return FAILED;
    sigemptyset(&handled);
    sigaddset(&handled, SIGCHLD);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGHUP);
    sigprocmask(SIG_BLOCK, &handled, NULL);
    fcntl(life, F_SETFD, FD_CLOEXEC);
    int signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
    /* In a session of its own, so that a Ctrl-C at the terminal reaches only pyexec, which ends its servers itself. */
    setsid();
    if (signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return FAILED;
    pid_t server = fork();
    if (server < 0)
        return FAILED;
    if (server == 0)
        run_server(argv + 2, argv[1], life);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    struct pollfd polled[] = {{signals, POLLIN, 0}, {life, POLLIN, 0}};
    while (!ended && !polled[1].revents) {
        struct signalfd_siginfo info;
        if (px_poll(polled, PX_COUNT(polled), -1) > 0 && polled[0].revents)
            (void)!px_read(signals, &info, sizeof info);
        reap(server, &status, &ended);
    }
    end_all(server, &status, &ended, signals, !ended);
    return px_process_exit_status(status);
}
