/* pyexec rpc: JSON-RPC on standard input and output, for language clients. */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "front/rpc.h"

/* A descriptor that is readable once a signal says to end, or -1. Blocked before the first thread
 * is there; those that were ignored at start (nohup) stay ignored. */
static int catch_the_end(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction old;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PX_COUNT(signals); i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(&set, signals[i]);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd >= 0)
        sigprocmask(SIG_BLOCK, &set, NULL);
    return fd;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    (void)arguments;
    (void)target;
    /* A client that is gone shows as a failed write. Only this program's own, not the library's. */
    signal(SIGPIPE, SIG_IGN);
    px_auto_fd int stop = catch_the_end();
    return px_rpc_serve(STDIN_FILENO, STDOUT_FILENO, stop);
}

const struct cli_command cmd_rpc = {
    .name = "rpc",
    .summary = "JSON-RPC 2.0 on standard input and output, one message a line",
    .description =
        "Serves one language client: initialize {protocol: 1, policy, session, host}, then "
        "execute_once, execute, interrupt, cancel, close_session, close_all, list_sessions, "
        "list_files, read_file, write_file, delete_file, doctor, stats, ping and shutdown. "
        "The session_policy of an execute is for the session that it makes, and ignored where the "
        "session is there. Requests run concurrently and are answered by id. The end of input is shutdown, and so "
        "are SIGINT, SIGTERM and SIGHUP.",
    .run = run,
};
