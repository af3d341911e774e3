/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec tools: what a script sees of tools, as the text of a Python stub file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "mcp_client/mcp_client.h"
#include "policy/config.h"

#define TOOLS_FILE_MAX (16u << 20)
#define START_STEPS 4 /* steps in the start of a server; each may take start_timeout */

struct tools_options {
    bool no_docstrings;
    const char *max_bytes, *servers;
};

static const struct cli_option rows[] = {
    {"no-docstrings", 0, NULL, "Only the functions and their types.", CLI_INTO(struct tools_options, no_docstrings)},
    {"max-bytes", 0, "BYTES",
     "The longest text, at least 1000 bytes. Whatever does not fit is left out, and the "
     "text says so.",
     CLI_INTO(struct tools_options, max_bytes)},
    {"mcp-servers", 0, "FILE",
     "The tools of these MCP servers, {\"mcpServers\": {...}}, as `pyexec mcp` offers them, instead of a list. It starts them.",
     CLI_INTO(struct tools_options, servers)},
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

/* The stubs of a list of tools, for free(). */
static char *stubs_of_list(const struct cli_arguments *arguments, unsigned flags, size_t max_bytes, pyexec_error *error)
{
    px_auto_buffer struct px_buffer json = {0};
    char *text = NULL;
    if (arguments->operands.count == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "no file of tools given");
        px_error_hint(error, "Write `pyexec tools FILE`, or - for standard input: a JSON list, as in tools of a "
                             "request.");
        return NULL;
    }
    if (read_tools(arguments->operands.items[0], &json, error) < 0)
        return NULL;
    if (!px_utf8_valid(px_buffer_shown(&json), px_buffer_length(&json), NULL) ||
        strlen(px_buffer_shown(&json)) != px_buffer_length(&json)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the tools are not UTF-8 text");
        px_error_hint(error, "Save the file as UTF-8, without NUL characters.");
        return NULL;
    }
    return pyexec_tool_stubs(px_buffer_shown(&json), flags, max_bytes, &text, error) < 0 ? NULL : text;
}

/* The stubs of the tools of MCP servers, for free(). Reports each server that fails; then *complete is false. */
static char *stubs_of_servers(const char *path, unsigned flags, size_t max_bytes, bool *complete, pyexec_error *error)
{
    px_auto(px_mcp_config_done) struct px_mcp_config mcp = {0};
    struct px_clients_file *file = NULL;
    struct px_clients *clients = NULL;
    struct px_client_tools *tools = NULL;
    const struct px_config into = {.mcp = &mcp};
    char *text = NULL;
    signal(SIGPIPE, SIG_IGN); /* a write to a server that has ended must not end this process */
    if (px_mcp_config_init(&mcp, error) < 0 || px_config_load_into(NULL, &into, error) < 0 ||
        px_clients_file_read(path, &file, error) < 0)
        return NULL;
    const struct px_clients_config config = {
        .file = file, .call_timeout_ms = mcp.call_timeout_ms, .start_timeout_ms = mcp.start_timeout_ms};
    if (px_clients_open(&config, &clients, error) == 0) {
        px_clients_wait(clients, START_STEPS * mcp.start_timeout_ms);
        tools = px_clients_tools(clients);
        if (!tools)
            px_error_oom(error);
        else if (!tools->count)
            text = strdup("");
        else if (pyexec_tools_stubs(tools->tools, flags, max_bytes, &text, error) < 0)
            text = NULL;
    }
    *complete = tools && !*tools->problems;
    for (char *rest = tools ? tools->problems : NULL, *line; rest && (line = strsep(&rest, "\n"));)
        if (*line)
            cli_say(line, NULL);
    px_client_tools_drop(tools);
    px_clients_free(clients);
    px_clients_file_free(file);
    return text;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct tools_options *options = target;
    const unsigned flags = options->no_docstrings ? PYEXEC_STUBS_NO_DOCSTRINGS : 0;
    pyexec_error error;
    px_auto_buffer struct px_buffer out = {0};
    size_t max_bytes = 0;
    bool complete = true;
    if (options->servers && arguments->operands.count) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "both a file of tools and --mcp-servers given");
        px_error_hint(&error, "Give one of them.");
        return cli_fail(&error);
    }
    if (take_max_bytes(options->max_bytes, &max_bytes, &error) < 0)
        return cli_fail(&error);
    px_auto_free char *text = options->servers ? stubs_of_servers(options->servers, flags, max_bytes, &complete, &error)
                                               : stubs_of_list(arguments, flags, max_bytes, &error);
    if (!text)
        return cli_fail(&error);
    px_buffer_add_string(&out, text);
    int status = cli_print(&out);
    return status == CLI_EXIT_OK && !complete ? CLI_EXIT_FAILED : status;
}

const struct cli_command cmd_tools = {
    .name = "tools",
    .summary = "what scripts see of tools, as Python stubs for a model",
    .description =
        "Reads a JSON list of tools, each an object with name, description, parameters and returns as in a "
        "request, and prints the functions that a script sees: their types, defaults and docstrings, as the "
        "text of a Python stub file (.pyi). Put it into the prompt of a model that writes such scripts. With "
        "--mcp-servers it prints the tools of those servers, in modules. If a server can't be used, it is named on "
        "standard error, and the exit status is 125.",
    .operands = "[FILE | -]",
    .max_operands = 1,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct tools_options),
    .run = run,
};
