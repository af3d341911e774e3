/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a run. Everything here belongs to the user: files of the host are read with the user's rights,
 * into memory, within limits. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "cli/run_command.h"

#define CODE_MAX ((size_t)10 << 20)   /* docs/rpc.md, execute_once */
#define INPUTS_MAX ((size_t)20 << 20) /* their JSON may contain spaces */

static int read_whole(int fd, const char *path, size_t limit, struct px_buffer *ret, pyexec_error *error)
{
    if (px_read_all(fd, ret, limit) == 0)
        return 0;
    if (errno == ENOMEM)
        return px_error_oom(error);
    if (errno == EFBIG) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s' has more than %zu bytes", path, limit);
        return px_error_hint(error, "Put data into files instead of into the code.");
    }
    px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't read '%s'", path);
    return px_error_hint(error, "Give a readable file.");
}

static int read_file(const char *path, size_t limit, struct px_buffer *ret, pyexec_error *error)
{
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't open '%s'", path);
        return px_error_hint(error, "Give the path of a readable file.");
    }
    return read_whole(fd, path, limit, ret, error);
}

/* A byte order mark comes from an editor and is not part of the script. */
static void drop_byte_order_mark(struct px_buffer *code)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (code->length >= 3 && memcmp(code->data, mark, 3) == 0)
        px_buffer_consume(code, 3);
}

static int read_code(const char *operand, struct px_buffer *ret, bool *ret_stdin, pyexec_error *error)
{
    if (!operand && isatty(STDIN_FILENO)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "run: no code given");
        return px_error_hint(error, "Give -c CODE, a FILE, or - to type it.");
    }
    *ret_stdin = !operand || strcmp(operand, "-") == 0;
    int status = *ret_stdin ? read_whole(STDIN_FILENO, "standard input", CODE_MAX, ret, error)
                            : read_file(operand, CODE_MAX, ret, error);
    if (status < 0) {
        if (ret->length > CODE_MAX)
            px_error_hint(error, "A script may have 10 MiB; pass data with --file or stdin.");
        return -1;
    }
    drop_byte_order_mark(ret);
    return 0;
}

static int set_code(pyexec_request *request, const struct cli_arguments *arguments, const struct run_options *options,
                    pyexec_error *error)
{
    const char *operand = arguments->operands.count ? arguments->operands.items[0] : NULL;
    if (options->code && operand) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "run: both -c and '%s' given", operand);
        return px_error_hint(error, "A script gets no arguments; use --env, --file or stdin.");
    }
    px_auto_buffer struct px_buffer code = {0};
    bool from_stdin = false;
    if (options->code)
        px_buffer_add_string(&code, options->code);
    else if (read_code(operand, &code, &from_stdin, error) < 0)
        return -1;
    if (!px_buffer_ok(&code) || pyexec_request_set_code(request, px_buffer_string(&code), code.length) < 0 ||
        pyexec_request_set_stdin_fd(request, from_stdin ? -1 : STDIN_FILENO) < 0)
        return px_error_oom(error);
    return 0;
}

static int set_env(pyexec_request *request, const char *text, pyexec_error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--env: '%s' is not NAME=VALUE", text);
        return px_error_hint(error, "Write --env NAME=VALUE; an empty value is allowed.");
    }
    px_auto_free char *name = strndup(text, (size_t)(equals - text));
    if (!name || pyexec_request_set_env(request, name, equals + 1) < 0)
        return px_error_oom(error);
    return 0;
}

/* HOST[:NAME]; the last colon separates them. */
static int add_file(pyexec_request *request, const char *text, int64_t quota, pyexec_error *error)
{
    const char *colon = strrchr(text, ':');
    px_auto_free char *host = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
    if (!host)
        return px_error_oom(error);
    const char *slash = strrchr(host, '/');
    const char *name = colon ? colon + 1 : slash ? slash + 1 : host;
    if (!*host || !*name) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--file: '%s' is not HOST[:NAME]", text);
        return px_error_hint(error, "Write --file data.csv, or --file /srv/data.csv:in/data.csv.");
    }
    px_auto_buffer struct px_buffer bytes = {0};
    if (read_file(host, (size_t)quota, &bytes, error) < 0) {
        if (bytes.length > (size_t)quota)
            px_error_hint(error, "The file is larger than the workspace. Raise --workspace-bytes.");
        return px_error_wrap(error, "--file");
    }
    if (pyexec_request_add_file(request, name, px_buffer_string(&bytes), bytes.length) < 0)
        return px_error_oom(error);
    return 0;
}

/* Its value is JSON, so a text needs its own quotes. */
static int set_input(pyexec_request *request, const char *text, pyexec_error *error)
{
    const char *equals = strchr(text, '=');
    px_auto_free char *name = equals ? strndup(text, (size_t)(equals - text)) : NULL;
    if (name && pyexec_request_set_input(request, name, equals + 1) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--input: '%.200s' is not NAME=JSON", text);
    return px_error_hint(error, "Write --input n=5, --input 'rows=[1, 2]', --input 'name=\"Ada\"'.");
}

static int set_inputs_file(pyexec_request *request, const char *path, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0}, object = {0};
    if (read_file(path, INPUTS_MAX, &text, error) < 0)
        return px_error_wrap(error, "--inputs");
    px_buffer_add_string(&object, "{\"inputs\":");
    px_buffer_add(&object, px_buffer_string(&text), text.length);
    px_buffer_add_byte(&object, '}');
    if (!px_buffer_ok(&object))
        return px_error_oom(error);
    if (pyexec_request_set_json(request, object.data, object.length, error) == 0)
        return 0;
    px_error_wrap(error, "--inputs: '%s'", path);
    return px_error_hint(error, "Give a file with one JSON object of variable name: value.");
}

static int set_values(pyexec_request *request, const struct run_options *options, pyexec_error *error)
{
    if (options->inputs_file && set_inputs_file(request, options->inputs_file, error) < 0)
        return -1;
    for (size_t i = 0; i < options->inputs.count; i++)
        if (set_input(request, options->inputs.items[i], error) < 0)
            return -1;
    if (!options->value_json || pyexec_request_set_value_json(request, options->value_json) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--value-json: not records or split");
    return px_error_hint(error, "records: a table is a list of objects; split: its columns, index and data apart.");
}

/* Checked before the script runs, whose work would otherwise be lost. Making the folder and writing to it may
 * still fail. */
static int check_folder(const char *option, const char *path, pyexec_error *error)
{
    struct stat status;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    const char *slash = memrchr(path, '/', length);
    px_auto_free char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!parent)
        return px_error_oom(error);
    bool there = stat(path, &status) == 0;
    if (there && !S_ISDIR(status.st_mode)) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, ENOTDIR, "%s: can't open '%s'", option, path);
        return px_error_hint(error, "Give a folder.");
    }
    if (access(there ? path : parent, W_OK | X_OK) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "%s: can't %s '%s'", option, there ? "write to" : "make",
                   path);
    return px_error_hint(error, "Use a writable directory, or a new one inside a writable directory.");
}

/* Refuses options that make no sense together, or under this policy. */
static int check_options(const struct run_options *options, const struct cli_settings *settings, pyexec_error *error)
{
    /* A server decides by its own policy. */
    enum px_files files = settings->cli.server ? PX_FILES_FULL : px_policy_files(&settings->policy);
    if (options->files.count && files == PX_FILES_NONE) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--file: the policy gives the script no file access");
        return px_error_hint(error, "Add --files read or --files full.");
    }
    if (options->output && files != PX_FILES_FULL) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--output: the policy lets the script write no files");
        return px_error_hint(error, "Add --files full.");
    }
    if (options->return_files.count && !options->output && !options->json) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--return-files: there is nowhere to put the files");
        return px_error_hint(error, "Add --output DIR or --json.");
    }
    if (options->output && check_folder("--output", options->output, error) < 0)
        return -1;
    return options->save_display ? check_folder("--save-display", options->save_display, error) : 0;
}

static int set_places(pyexec_request *request, const struct run_options *options, pyexec_error *error)
{
    if (options->workspace && options->workspace[0] != '/') {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--workspace: '%s' is not absolute", options->workspace);
        return px_error_hint(error, "Give the absolute path of a folder to work in.");
    }
    if ((options->working_dir && pyexec_request_set_working_dir(request, options->working_dir) < 0) ||
        (options->workspace && pyexec_request_set_workspace(request, options->workspace) < 0))
        return px_error_oom(error);
    for (size_t i = 0; i < options->return_files.count; i++)
        if (pyexec_request_add_return_file(request, options->return_files.items[i]) < 0)
            return px_error_oom(error);
    if (options->output && !options->return_files.count && pyexec_request_add_return_file(request, "**") < 0)
        return px_error_oom(error);
    return 0;
}

int run_input(pyexec_request *request, const struct cli_arguments *arguments, const struct run_options *options,
              const struct cli_settings *settings, pyexec_error *error)
{
    int64_t quota = settings->cli.server ? RUN_SERVER_BYTES : settings->policy.workspace_bytes;
    if (check_options(options, settings, error) < 0 || set_places(request, options, error) < 0 ||
        set_values(request, options, error) < 0)
        return -1;
    for (size_t i = 0; i < options->env.count; i++)
        if (set_env(request, options->env.items[i], error) < 0)
            return -1;
    for (size_t i = 0; i < options->files.count; i++)
        if (add_file(request, options->files.items[i], quota, error) < 0)
            return -1;
    return set_code(request, arguments, options, error);
}
