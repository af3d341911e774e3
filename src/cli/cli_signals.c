/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"

static const int held_signals[] = {SIGINT, SIGTERM, SIGHUP};

static pyexec_request *volatile held_request;
static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t terminating_signal;

static void on_pipe(int number)
{
    (void)number;
}

static void on_signal(int number)
{
    int saved = errno;
    pyexec_request *request = held_request;
    if (number == SIGINT)
        interrupts++;
    else
        terminating_signal = number;
    if (!request)
        return;
    if (cli_signals_cancelled())
        pyexec_request_cancel(request);
    else
        pyexec_request_interrupt(request);
    errno = saved;
}

static void set_handler(int number, void (*handler)(int), int flags)
{
    struct sigaction old, action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        sigaddset(&action.sa_mask, held_signals[i]);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

void cli_signals_catch_pipe(void)
{
    struct sigaction action = {.sa_handler = on_pipe, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPIPE, &action, NULL);
}

void cli_signals_hold(pyexec_request *request)
{
    held_request = request;
    /* Without SA_RESTART: a write that blocks must return, to see that it is cancelled. */
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        set_handler(held_signals[i], on_signal, 0);
}

void cli_signals_release(void)
{
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        set_handler(held_signals[i], SIG_DFL, 0);
    held_request = NULL;
}

bool cli_signals_cancelled(void)
{
    return terminating_signal || interrupts > 1;
}

int cli_signals_terminated(void)
{
    return terminating_signal;
}

int cli_signals_for_server(void)
{
    struct sigaction old;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        if (sigaction(held_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(&set, held_signals[i]);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd >= 0)
        sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return fd;
}

void cli_signals_end_descriptor(int *fd)
{
    sigset_t set;
    px_close_fd(fd);
    sigemptyset(&set);
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        sigaddset(&set, held_signals[i]);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void cli_signals_ignore(void)
{
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        signal(held_signals[i], SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}
