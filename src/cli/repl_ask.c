/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a line from the terminal for the script, while the main thread waits for the cell. The terminal is in its
 * ordinary mode then: it edits the line itself, and read(2) gives at most one. So what is typed or pasted after the
 * line is the next cell.
 *
 * The script's arguments are not trusted; its prompt is written as it came, like everything that it prints. */
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

#define ASK_LINE_MAX 4096 /* as termios(3) says of a terminal's line */
#define ASK_POLL_MS 50

/* Threads of the script may ask at once: the user answers one after another. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

static void unlock(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

/* Opens the terminal a second time, so that reads of it never wait: O_NONBLOCK belongs to the open file, and that of
 * standard input is the shell's too. A Ctrl-C between poll(2) and read(2) drops the line, and a read(2) that waits
 * would then take the next cell. */
static int open_terminal(void)
{
    return px_open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
}

/* Returns the length of the line with its newline; 0: Ctrl-D, or the terminal is gone; -1: the script no longer waits. */
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

/* The same without showing what is typed. */
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
        (void)!pyexec_tool_call_fail(call, "the line is not text in UTF-8", NULL, &error);
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
