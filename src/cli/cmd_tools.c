/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec tools: what a script sees of tools, as the text of a Python stub file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/print.h"

#define TOOLS_FILE_MAX (16u << 20)

struct tools_options {
    bool no_docstrings;
    const char *max_bytes;
};

static const struct cli_option rows[] = {
    {"no-docstrings", 0, NULL, "Only the functions and their types.", CLI_INTO(struct tools_options, no_docstrings)},
    {"max-bytes", 0, "BYTES", "The longest text, at least 1000. What has no room is left out, and the text says so.",
     CLI_INTO(struct tools_options, max_bytes)},
};

static int read_tools(const char *path, struct px_buffer *out, pyexec_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    px_auto_fd int opened = standard ? -1 : px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if ((!standard && opened < 0) || px_read_all(standard ? STDIN_FILENO : opened, out, TOOLS_FILE_MAX) < 0)
        return px_error_of_request(error, errno, "Give a readable file of at most 16 MiB, or - for standard input.",
                                   "can't read the tools from %s", standard ? "standard input" : path);
    return 0;
}

static int take_max_bytes(const char *text, size_t *ret, pyexec_error *error)
{
    char *end = NULL;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (text && (!*text || *end || strspn(text, "0123456789") != strlen(text) || value > TOOLS_FILE_MAX * 4ull)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--max-bytes: '%.50s' is not a number of bytes", text);
        return px_error_hint(error, "Give at least 1000, or leave it out.");
    }
    *ret = (size_t)value;
    return 0;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct tools_options *options = target;
    pyexec_error error;
    px_auto_buffer struct px_buffer json = {0}, out = {0};
    px_auto_free char *text = NULL;
    size_t max_bytes;
    if (arguments->operands.count == 0) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "no file of tools given");
        px_error_hint(&error, "pyexec tools FILE, or - for standard input: a JSON list, as a request's tools.");
        return cli_fail(&error);
    }
    if (take_max_bytes(options->max_bytes, &max_bytes, &error) < 0 ||
        read_tools(arguments->operands.items[0], &json, &error) < 0)
        return cli_fail(&error);
    if (!px_utf8_valid(px_buffer_shown(&json), json.length, NULL) || strlen(px_buffer_shown(&json)) != json.length) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "the tools are not text in UTF-8");
        px_error_hint(&error, "Save the file as UTF-8, without NUL characters.");
        return cli_fail(&error);
    }
    if (pyexec_tool_stubs(px_buffer_shown(&json), options->no_docstrings ? PYEXEC_STUBS_NO_DOCSTRINGS : 0, max_bytes,
                          &text, &error) < 0)
        return cli_fail(&error);
    px_buffer_add_string(&out, text);
    return cli_print(&out);
}

const struct cli_command cmd_tools = {
    .name = "tools",
    .summary = "what scripts see of tools, as Python stubs for a model",
    .description = "Reads a JSON list of tools, each an object with name, description, parameters and returns as in a "
                   "request, and prints the functions that a script sees: their types, defaults and docstrings, as the "
                   "text of a Python stub file (.pyi). A model that shall write such scripts needs it in its prompt.",
    .operands = "FILE | -",
    .max_operands = 1,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct tools_options),
    .run = run,
};
