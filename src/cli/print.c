/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/retry.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"

/* Appends text for a terminal: C0 and C1 control characters and DEL become '?'. */
static void add_printable(struct px_buffer *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
            px_buffer_add_byte(out, '?');
            c++;
        } else {
            px_buffer_add_byte(out, *c < 0x20 || *c == 0x7f ? '?' : (char)*c);
        }
    }
}

static void say_line(const char *prefix, const char *text)
{
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_add_string(&line, prefix);
    add_printable(&line, text);
    px_buffer_add_byte(&line, '\n');
    static const char lost[] = "pyexec: can't allocate memory\n";
    if (px_buffer_ok(&line))
        cli_write(STDERR_FILENO, line.data, line.length);
    else
        cli_write(STDERR_FILENO, lost, sizeof lost - 1);
}

void cli_say_hint(const char *hint)
{
    if (hint && *hint)
        say_line("hint: ", hint);
}

void cli_say(const char *message, const char *hint)
{
    say_line("pyexec: ", message);
    cli_say_hint(hint);
}

int cli_fail(const pyexec_error *error)
{
    cli_say(error->message, error->hint);
    return CLI_EXIT_FAILED;
}

int cli_fail_as(bool json, const pyexec_error *error)
{
    int status = cli_fail(error);
    if (!json)
        return status;
    json_t *object = json_pack("{s:s, s:s, s:s?}", "code", pyexec_code_name(error->code), "message", error->message,
                               "hint", *error->hint ? error->hint : NULL);
    if (object && error->retry_after_ms)
        px_json_set(object, "retry_after_ms", json_integer(error->retry_after_ms));
    if (object && error->sys_errno)
        px_json_set(object, "errno", json_integer(error->sys_errno));
    px_auto_free char *text = px_json_take_text(object);
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "%s\n", text ? text : "{\"code\":\"internal\"}");
    cli_print(&line);
    return status;
}

int cli_write(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = px_write_or_signal(fd, bytes, length);
        if (n >= 0) {
            bytes += n;
            length -= (size_t)n;
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            if (px_ppoll_or_signal(&writable, 1, NULL) >= 0)
                continue;
        }
        if (errno != EINTR)
            return -1;
        if (cli_signals_cancelled()) {
            errno = ECANCELED;
            return -1;
        }
    }
    return 0;
}

int cli_write_failed(int sys_errno)
{
    if (sys_errno == EPIPE)
        return CLI_EXIT_PIPE;
    pyexec_error error;
    px_error_errno(&error, PYEXEC_INTERNAL, sys_errno, "can't write to standard output");
    px_error_hint(&error, "Free some space, or send the output elsewhere.");
    return cli_fail(&error);
}

int cli_server_status(int output_errno)
{
    if (output_errno == 0)
        return CLI_EXIT_OK;
    bool gone = output_errno == EPIPE || output_errno == ECONNRESET || output_errno == ETIMEDOUT;
    return gone ? CLI_EXIT_GONE : cli_write_failed(output_errno);
}

int cli_print(const struct px_buffer *text)
{
    pyexec_error error;
    if (!px_buffer_ok(text)) {
        px_error_oom(&error);
        return cli_fail(&error);
    }
    if (cli_write(STDOUT_FILENO, px_buffer_string(text), text->length) < 0)
        return cli_write_failed(errno);
    return CLI_EXIT_OK;
}

bool cli_colours(void)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no_color && *no_color) && !(terminal && strcmp(terminal, "dumb") == 0);
}

void cli_add_importable(struct px_buffer *out, const json_t *python)
{
    size_t index;
    json_t *path, *paths = json_object_get(python, "importable");
    if (!json_array_size(paths))
        return;
    px_buffer_add_string(out, "\nreadable by scripts, because of .pth files or editable installs\n");
    json_array_foreach(paths, index, path) {
        px_buffer_add_string(out, "  ");
        add_printable(out, json_string_value(path));
        px_buffer_add_byte(out, '\n');
    }
    json_int_t more = json_integer_value(json_object_get(python, "importable_more"));
    if (more)
        px_buffer_printf(out, "  and %lld more\n", (long long)more);
}
