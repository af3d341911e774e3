/* SPDX-License-Identifier: Apache-2.0 */
/* The output of a run without --json. Everything printed here comes from the script and is printed as it came,
 * except pyexec's own messages at the end. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/run_command.h"

void run_stream_done(struct run_stream *stream)
{
    px_buffer_done(&stream->waiting[0]);
    px_buffer_done(&stream->waiting[1]);
}

static int write_failed(struct run_stream *state, int stream)
{
    if (!state->write_errno) {
        state->write_errno = errno;
        state->failed_stream = stream;
    }
    return -1;
}

/* Writes as much as is possible without waiting: a pipe that poll(2) calls writable takes PIPE_BUF bytes. */
static int write_some(struct run_stream *state, int stream)
{
    struct px_buffer *waiting = &state->waiting[stream - 1];
    size_t done = 0;
    int status = 0;
    while (done < waiting->length) {
        struct pollfd ready = {.fd = stream == 2 ? STDERR_FILENO : STDOUT_FILENO, .events = POLLOUT};
        size_t part = waiting->length - done < PIPE_BUF ? waiting->length - done : PIPE_BUF;
        if (px_poll(&ready, 1, 0) <= 0)
            break;
        ssize_t n = px_write(ready.fd, waiting->data + done, part);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            status = write_failed(state, stream);
            break;
        }
        done += (size_t)n;
    }
    px_buffer_consume(waiting, done);
    return status;
}

int run_stream_write(void *userdata, int stream, const char *bytes, size_t length)
{
    struct run_stream *state = userdata;
    if (!length)
        return 0;
    if (stream == 2)
        state->stderr_open_line = bytes[length - 1] != '\n';
    px_buffer_add(&state->waiting[stream - 1], bytes, length);
    if (!px_buffer_ok(&state->waiting[stream - 1])) {
        errno = ENOMEM;
        return write_failed(state, stream);
    }
    return write_some(state, stream);
}

/* After the run: waits for the reader. */
int run_stream_finish(struct run_stream *state)
{
    for (int stream = 1; stream <= 2 && !state->write_errno; stream++) {
        const struct px_buffer *waiting = &state->waiting[stream - 1];
        if (waiting->length &&
            cli_write(stream == 2 ? STDERR_FILENO : STDOUT_FILENO, waiting->data, waiting->length) < 0)
            return write_failed(state, stream);
    }
    return state->write_errno ? -1 : 0;
}

/* The message for a run that did not end by itself. */
static const struct {
    const char *text;
    const char *hint;
} endings[] = {
    [PYEXEC_STATUS_TIMEOUT] = {"the script ran into its time limit", "Raise it with --timeout, as in --timeout 30s."},
    [PYEXEC_STATUS_CPU_LIMIT] = {"the script used up its CPU time", "Raise it with --cpu-time-seconds."},
    [PYEXEC_STATUS_MEMORY_LIMIT] = {"the script used up its memory",
                                    "Raise it with --address-space-bytes, as in --address-space-bytes 1G."},
    [PYEXEC_STATUS_KILLED] = {"the script's process was killed from outside", "The machine may be short of memory."},
    [PYEXEC_STATUS_CRASHED] = {"the script's process crashed", NULL},
    [PYEXEC_STATUS_CANCELLED] = {"the run was cancelled", NULL},
};

/* One line, unless Python's traceback on standard error says the same. */
static void say_ending(const struct run_outcome *outcome)
{
    pyexec_status status = outcome->status;
    const char *traceback = outcome->traceback, *name = pyexec_status_name(status), *message = outcome->message;
    if ((size_t)status >= PX_COUNT(endings) || !endings[status].text || (traceback && *traceback))
        return;
    if (!message || !*message)
        message = endings[status].text;
    size_t length = strlen(name);
    bool named = strncmp(message, name, length) == 0 && message[length] == ':';
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "%s%s%s", named ? "" : name, named ? "" : ": ", message);
    cli_say(px_buffer_shown(&line), NULL);
    if (!outcome->hint || !*outcome->hint)
        cli_say_hint(endings[status].hint);
}

/* The hint for an uncaught exception, unless what was printed contains it. */
static void say_hint(const struct run_outcome *outcome)
{
    const char *hint = outcome->hint, *printed = outcome->traceback;
    if (hint && *hint && !(printed && strstr(printed, hint)))
        cli_say_hint(hint);
}

static void say_truncated(const char *name, const char *flag, uint64_t bytes)
{
    px_auto_buffer struct px_buffer line = {0}, hint = {0};
    px_buffer_printf(&line, "%s was cut; the script wrote %" PRIu64 " bytes", name, bytes);
    px_buffer_printf(&hint, "Raise the limit with %s.", flag);
    cli_say(px_buffer_shown(&line), px_buffer_shown(&hint));
}

static void say_truncations(const struct run_outcome *outcome)
{
    if (outcome->truncated[0])
        say_truncated("standard output", "--max-stdout-bytes", outcome->stream_bytes[0]);
    if (outcome->truncated[1])
        say_truncated("standard error", "--max-stderr-bytes", outcome->stream_bytes[1]);
    if (outcome->value_truncated)
        cli_say("the last value was cut", "Raise the limit with --max-value-bytes.");
}

/* As Python's prompt prints it. */
static int print_value(const struct run_outcome *outcome)
{
    const char *value = outcome->value_json ? outcome->value_json : outcome->value, *why = outcome->value_json_error;
    if (why) {
        px_auto_buffer struct px_buffer line = {0};
        px_buffer_printf(&line, "the last value is not shown as JSON: %s", why);
        cli_say(px_buffer_shown(&line), NULL);
    }
    if (!value)
        return 0;
    if (cli_write(STDOUT_FILENO, value, strlen(value)) < 0)
        return -1;
    return cli_write(STDOUT_FILENO, "\n", 1);
}

int run_write_failed(const struct run_stream *stream)
{
    return stream->failed_stream == 2 ? CLI_EXIT_PIPE : cli_write_failed(stream->write_errno);
}

int run_output(struct run_stream *stream, const struct run_outcome *outcome, int terminated)
{
    /* We cancelled it, so the result says nothing new. */
    if (terminated)
        return PYEXEC_EXIT_SIGNAL + terminated;
    run_stream_finish(stream);
    if (stream->write_errno && stream->write_errno != ECANCELED)
        return run_write_failed(stream);
    if (print_value(outcome) < 0) {
        write_failed(stream, 1);
        return cli_write_failed(stream->write_errno);
    }
    if (stream->stderr_open_line)
        cli_write(STDERR_FILENO, "\n", 1);
    say_ending(outcome);
    say_hint(outcome);
    say_truncations(outcome);
    return outcome->exit_code;
}
