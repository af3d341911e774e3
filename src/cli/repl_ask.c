/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a line from the terminal for the script, while the main thread waits for the cell. The terminal is in its
 * usual mode then: the kernel handles the editing of the line, and read(2) returns at most one line. So the text that is typed
 * or pasted after that line becomes the next cell.
 *
 * The script's arguments are not trusted. Its prompt is written unchanged, like all of its output. */
#include "cli/repl_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/retry.h"
#include "cli/print.h"

#define ASK_LINE_MAX 4096 /* termios(3): the longest line of a terminal */
#define ASK_POLL_MS 50

/* Several threads of the script may ask at the same time. The user answers one question after another. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

static void unlock(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

/* Opens the terminal a second time with O_NONBLOCK, so that read(2) never waits: if a Ctrl-C deletes the line between poll(2)
 * and read(2), a read(2) that waits would take the next cell. O_NONBLOCK is not set on standard input, because the shell shares
 * this open file. */
static int open_terminal(void)
{
    return px_open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
}

/* Returns the length of the line with its newline. Returns 0 after Ctrl-D or when the terminal can't be read, and -1 when the
 * script no longer waits. */
static ssize_t read_line(pyexec_tool_call *call, int fd, char line[ASK_LINE_MAX])
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    while (pyexec_tool_call_waits(call)) {
        if (px_poll(&input, 1, ASK_POLL_MS) <= 0)
            continue;
        ssize_t n = px_read(fd, line, ASK_LINE_MAX);
        if (n >= 0 || errno != EAGAIN)
            return n < 0 ? 0 : n;
    }
    return -1;
}

/* The same, but the terminal does not show the characters that are typed. */
static ssize_t read_password(pyexec_tool_call *call, int fd, char line[ASK_LINE_MAX])
{
    struct termios shown, hidden;
    if (tcgetattr(fd, &shown) < 0)
        return read_line(call, fd, line);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fd, TCSANOW, &hidden);
    ssize_t length = read_line(call, fd, line);
    tcsetattr(fd, TCSANOW, &shown);
    cli_write(STDERR_FILENO, "\n", 1);
    return length;
}

static void answer(pyexec_tool_call *call, const char *line, size_t length)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer text = {0};
    px_json_text_string(&text, line, length);
    if (!px_buffer_ok(&text))
        (void)!pyexec_tool_call_fail(call, "the line is not UTF-8 text", NULL, &error);
    else
        (void)!pyexec_tool_call_answer(call, px_buffer_string(&text), text.length, &error);
}

static void write_prompt(const json_t *arguments)
{
    const json_t *prompt = json_object_get(arguments, "prompt");
    if (json_string_length(prompt))
        cli_write(isatty(STDOUT_FILENO) ? STDOUT_FILENO : STDERR_FILENO, json_string_value(prompt),
                  json_string_length(prompt));
}

void repl_ask(void *userdata, pyexec_tool_call *call)
{
    atomic_bool *open_line = userdata;
    pyexec_error error;
    pthread_mutex_lock(&asking);
    px_auto(unlock) pthread_mutex_t *locked = &asking;
    px_auto_fd int terminal = open_terminal();
    int fd = terminal >= 0 ? terminal : STDIN_FILENO;
    size_t size;
    const char *text = pyexec_tool_call_arguments(call, &size);
    json_error_t problem;
    px_auto_json json_t *arguments = px_json_read(text, size, JSON_ALLOW_NUL, &problem);
    if (pyexec_tool_call_waits(call))
        write_prompt(arguments);
    char line[ASK_LINE_MAX];
    ssize_t length = json_is_true(json_object_get(arguments, "password")) ? read_password(call, fd, line)
                                                                          : read_line(call, fd, line);
    if (length > 0) {
        atomic_store(open_line, false);
        answer(call, line, (size_t)length - (line[length - 1] == '\n'));
    } else if (length == 0) {
        (void)!pyexec_tool_call_fail(call, "EOF when reading a line", "\"EOF\"", &error);
    }
    pyexec_tool_call_free(call);
}
