/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's commands: process.Process/Start of Connect-RPC (JSON in frames). There is no shell and no other process.
 * Only `python FILE` and `python -c CODE` (or python3) can run; they run in the session of the sandbox's default
 * context, with global names of their own. Every other command is an error. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/utf8.h"
#include "serve/e2b_sandbox.h"
#include "serve/route.h"
#include "serve/run_request.h"
#include "serve/server.h"
#include "serve/sse.h"

#define FRAME_HEADER_BYTES 5u /* flags, and the length as a big-endian number */
#define FRAME_END 2u
#define SCRIPT_BYTES_MAX (4u << 20)
#define WORDS_MAX 4

/* ---- Frames ---- */

/* Takes ownership of `message`. */
static void add_frame(struct px_buffer *body, unsigned char flags, json_t *message)
{
    px_auto_free char *text = px_json_take_text(message);
    uint32_t length = text ? htonl((uint32_t)strlen(text)) : 0;
    body->failed |= !text;
    px_buffer_add_byte(body, (char)flags);
    px_buffer_add(body, &length, sizeof length);
    px_buffer_add_string(body, text ? text : "");
}

static void answer_frames(struct px_http_request *request, const struct px_buffer *body)
{
    pyexec_error error;
    if (px_buffer_ok(body)) {
        px_respond_text(request, MHD_HTTP_OK, "application/connect+json", px_buffer_string(body), body->length);
        return;
    }
    px_error_oom(&error);
    px_respond_error(request, &error);
}

/* Also called after the answer has begun, for an error that the request did not cause. */
static void answer_refusal(struct px_http_request *request, const pyexec_error *error)
{
    px_auto_buffer struct px_buffer body = {0};
    char text[sizeof error->message + sizeof error->hint + 2];
    if (px_dialect_failed(request, error))
        return;
    bool invalid = error->code == PYEXEC_INVALID_REQUEST || error->code == PYEXEC_INVALID_POLICY;
    snprintf(text, sizeof text, "%s. %s", error->message, error->hint);
    add_frame(
        &body, FRAME_END,
        json_pack("{s:{s:s, s:s}}", "error", "code", invalid ? "invalid_argument" : "unavailable", "message", text));
    if (request->stream)
        px_sse_add(request, &body, true);
    else
        answer_frames(request, &body);
}

/* Reads the only frame of the request's body. */
static int read_frame(struct px_http_request *request, pyexec_error *error)
{
    uint32_t length = 0;
    if (request->body.length >= FRAME_HEADER_BYTES)
        memcpy(&length, request->body.data + 1, sizeof length);
    if (!length || request->body.data[0] != 0 || ntohl(length) != request->body.length - FRAME_HEADER_BYTES) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the body must be one frame of application/connect+json");
        return px_error_hint(error, "Send a frame that is not compressed.");
    }
    px_buffer_consume(&request->body, FRAME_HEADER_BYTES);
    return px_dialect_body(request, error) ? 0 : -1;
}

/* ---- The words of the command ---- */

/* Reads one character of a word and moves *at. Returns false when the character has a meaning for a shell. */
static bool take_character(struct px_buffer *word, const char **at, char *quote)
{
    char c = *(*at)++;
    if (*quote == '\'' || *quote == '"') {
        if (c == *quote)
            *quote = 0;
        else if (*quote == '"' && (c == '$' || c == '`'))
            return false;
        else if (*quote == '"' && c == '\\' && **at && strchr("\"\\$`", **at))
            px_buffer_add_byte(word, *(*at)++);
        else
            px_buffer_add_byte(word, c);
        return true;
    }
    if (c == '\'' || c == '"')
        *quote = c;
    else if (strchr("|&;<>()$`\\*?[]{}~#!\n", c))
        return false;
    else
        px_buffer_add_byte(word, c);
    return true;
}

/* Splits the command into words and removes quotes as a shell does. Returns -1 when there are more than WORDS_MAX
 * words, or when it needs a shell. */
static int split(const char *command, struct px_buffer words[WORDS_MAX])
{
    int count = 0;
    for (command += strspn(command, " \t\n"); *command; command += strspn(command, " \t\n")) {
        char quote = 0;
        if (count == WORDS_MAX)
            return -1;
        px_buffer_add_string(&words[count], "");
        while (*command && (quote || !strchr(" \t\n", *command)))
            if (!take_character(&words[count], &command, &quote))
                return -1;
        if (quote || !px_buffer_ok(&words[count++]))
            return -1;
    }
    return count;
}

struct e2b_command {
    char *file; /* FILE of `python FILE`, unchanged; or NULL */
    char *code; /* CODE of `python -c CODE`; or NULL */
};

static void command_done(struct e2b_command *command)
{
    free(command->file);
    free(command->code);
}

static int parse_command(const char *text, struct e2b_command *ret, pyexec_error *error)
{
    struct px_buffer words[WORDS_MAX] = {0};
    int count = text ? split(text, words) : -1;
    bool python = count > 1 && (strcmp(px_buffer_shown(&words[0]), "python") == 0 ||
                                strcmp(px_buffer_shown(&words[0]), "python3") == 0);
    bool option = python && *px_buffer_shown(&words[1]) == '-';
    if (python && count == 3 && strcmp(px_buffer_shown(&words[1]), "-c") == 0)
        ret->code = strdup(px_buffer_shown(&words[2]));
    else if (python && count == 2 && !option && *px_buffer_shown(&words[1]))
        ret->file = strdup(px_buffer_shown(&words[1]));
    for (int i = 0; i < WORDS_MAX; i++)
        px_buffer_done(&words[i]);
    if (ret->code || ret->file)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "can't run '%.200s': there is no shell and no program but Python",
                 text ? text : "");
    return px_error_hint(error,
                         "Run `python FILE` or `python -c CODE` (or python3), without arguments, or use run_code().");
}

/* The SDKs send `/bin/bash -l -c COMMAND`. */
static const char *shell_command(const json_t *process)
{
    const json_t *arguments = json_object_get(process, "args");
    const char *option = json_string_value(json_array_get(arguments, 1));
    bool shell = json_array_size(arguments) == 3 && option && strcmp(option, "-c") == 0;
    return shell ? json_string_value(json_array_get(arguments, 2)) : NULL;
}

/* ---- The script ---- */

/* Returns code that runs the script by exec(), so that it has global names of its own. Takes ownership of
 * `source`. */
static char *wrap(json_t *source, const char *name)
{
    px_auto_buffer struct px_buffer code = {0};
    px_auto_free char *text = source ? px_json_dumps(source, JSON_ENCODE_ANY) : NULL;
    px_auto_json json_t *shown = json_string(name);
    px_auto_free char *quoted = shown ? px_json_dumps(shown, JSON_ENCODE_ANY) : NULL;
    json_decref(source);
    if (!text || !quoted)
        return NULL;
    /* JSON text without \u escapes of surrogates is also a string literal of Python. */
    px_buffer_printf(&code, "exec(compile(%s, %s, 'exec'), {'__name__': '__main__', '__file__': %s})", text, quoted,
                     quoted);
    return px_buffer_take(&code);
}

/* Returns 1 when the file does not exist. */
static int read_script(struct px_http_request *request, const char *path, struct px_buffer *ret, pyexec_error *error)
{
    px_auto_fd int fd = -1;
    uint64_t bytes;
    if (pyexec_session_open_file(request->server->executor, request->session_key, path, false, &fd, &bytes, error) < 0)
        return error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == ENOENT ? 1 : -1;
    bool good = bytes <= SCRIPT_BYTES_MAX && px_read_all(fd, ret, SCRIPT_BYTES_MAX) >= 0 && px_buffer_ok(ret) &&
                px_utf8_valid(px_buffer_string(ret), ret->length, NULL);
    if (good)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.200s' must be UTF-8 text of at most 4 MiB to run as a script",
                 path);
    return px_error_hint(error, "Write the file again.");
}

/* ---- The answer: the command's output, frame by frame ---- */

/* The output of a command. A traceback is held back until more output, or the end, so that the frame of wrap()'s
 * own line can be removed from it. */
struct command_output {
    struct px_http_request *request;
    struct px_buffer held;
};

/* Takes ownership of `message`. */
static void send_frame(struct px_http_request *request, unsigned char flags, json_t *message, bool last)
{
    px_auto_buffer struct px_buffer frame = {0};
    add_frame(&frame, flags, message);
    px_sse_add(request, &frame, last);
}

static void send_data(struct px_http_request *request, int which, const char *bytes, size_t length)
{
    px_auto_buffer struct px_buffer base64 = {0};
    if (!length)
        return;
    px_base64_encode(&base64, bytes, length);
    send_frame(request, 0,
               json_pack("{s:{s:{s:s}}}", "event", "data", which == 2 ? "stderr" : "stdout", px_buffer_string(&base64)),
               false);
}

/* Begins the answer at once, so that the client learns the command's id. Returns -1 when the request has been
 * answered. */
static int begin_answer(struct px_http_request *request)
{
    static const char silence[] = "\0\0\0\0\x1a{\"event\":{\"keepalive\":{}}}";
    _Static_assert(sizeof silence - 1 == FRAME_HEADER_BYTES + 0x1a, "the length that is in the header");
    pyexec_error error;
    if (px_sse_begin_bytes(request, "application/connect+json", silence, sizeof silence - 1) < 0) {
        px_error_oom(&error);
        answer_refusal(request, &error);
        return -1;
    }
    send_frame(request, 0, json_pack("{s:{s:{s:i}}}", "event", "start", "pid", 1), false);
    return 0;
}

static void end_answer(struct px_http_request *request, int exit_code)
{
    char status[32];
    snprintf(status, sizeof status, "exit status %d", exit_code);
    send_frame(
        request, 0,
        json_pack("{s:{s:{s:i, s:b, s:s}}}", "event", "end", "exitCode", exit_code, "exited", true, "status", status),
        false);
    send_frame(request, FRAME_END, json_object(), true);
}

/* Appends the text without the frames of wrap()'s line. */
static void add_without_own_frames(struct px_buffer *out, const char *text, size_t length)
{
    static const char start[] = "Traceback (most recent call last):\n", own[] = "  File \"<cell",
                      next[] = "\n  File \"";
    const char *end = text + length;
    for (const char *found; (found = memmem(text, (size_t)(end - text), start, strlen(start)));) {
        const char *frame = found + strlen(start), *after = memmem(frame, (size_t)(end - frame), next, strlen(next));
        bool is_own = (size_t)(end - frame) >= strlen(own) && memcmp(frame, own, strlen(own)) == 0 && after;
        px_buffer_add(out, text, (size_t)(frame - text));
        text = is_own ? after + 1 : frame;
    }
    px_buffer_add(out, text, (size_t)(end - text));
}

static void let_go(struct command_output *output)
{
    px_auto_buffer struct px_buffer text = {0};
    add_without_own_frames(&text, px_buffer_shown(&output->held), px_buffer_length(&output->held));
    send_data(output->request, 2, px_buffer_string(&text), text.length);
    px_buffer_consume(&output->held, output->held.length);
}

/* A pyexec_output_fn. */
static int print(void *closure, int which, const char *bytes, size_t length)
{
    struct command_output *output = closure;
    let_go(output);
    size_t shown = which == 2 ? px_e2b_find_traceback(bytes, length) : length;
    send_data(output->request, which, bytes, shown);
    px_buffer_add(&output->held, bytes + shown, length - shown);
    return px_http_request_is_lost(output->request);
}

/* Sends what a person should read beside the output that was sent already. */
static void send_result(struct command_output *output, pyexec_result *result)
{
    px_auto_buffer struct px_buffer errors = {0};
    size_t sent;
    pyexec_result_stderr(result, &sent);
    let_go(output);
    px_dialect_add_stderr(&errors, result);
    if (errors.length > sent)
        send_data(output->request, 2, errors.data + sent, errors.length - sent);
    end_answer(output->request, pyexec_result_exit_code(result));
}

/* ---- The run ---- */

static int set_up(struct px_http_request *request, pyexec_request *run, const char *folder, pyexec_error *error)
{
    const json_t *process = json_object_get(request->json, "process");
    if (pyexec_request_set_workspace_path(run, PX_E2B_HOME) < 0 ||
        (*folder && pyexec_request_set_working_dir(run, folder) < 0))
        return px_error_oom(error);
    return px_e2b_add_environment(run, json_object_get(process, "envs"), error);
}

/* Takes ownership of `code`. */
static void run_code(struct px_http_request *request, char *code, const char *folder)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    px_auto_json json_t *text = code ? json_string(code) : NULL;
    free(code);
    pyexec_request *run = px_dialect_run(request, text, &error);
    struct command_output output = {.request = request};
    if (!run || set_up(request, run, folder, &error) < 0 || px_run_request_check(request, &error) < 0) {
        answer_refusal(request, &error);
    } else if (begin_answer(request) == 0) {
        pyexec_request_set_output(run, print, &output);
        if (px_run_request(request, run, &result, &error) == 0)
            send_result(&output, result);
        else
            answer_refusal(request, &error);
    }
    px_buffer_done(&output.held);
    pyexec_result_free(result);
    pyexec_request_free(run);
}

static void run_file(struct px_http_request *request, const char *file, const char *folder)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer script = {0}, path = {0}, name = {0};
    const char *relative = *file == '/' ? px_e2b_relative(file, &error) : file;
    if (!relative) {
        answer_refusal(request, &error);
        return;
    }
    px_buffer_printf(&path, "%s%s%s", *file == '/' ? "" : folder, *file == '/' || !*folder ? "" : "/", relative);
    px_buffer_printf(&name, PX_E2B_HOME "/%s", px_buffer_shown(&path));
    int status = read_script(request, px_buffer_shown(&path), &script, &error);
    if (status < 0) {
        answer_refusal(request, &error);
    } else if (status > 0 && begin_answer(request) == 0) {
        px_auto_buffer struct px_buffer text = {0};
        px_buffer_printf(&text, "python3: can't open file '%s': [Errno 2] No such file or directory\n",
                         px_buffer_shown(&name));
        send_data(request, 2, px_buffer_string(&text), text.length);
        end_answer(request, 2);
    } else if (status == 0) {
        run_code(request, wrap(json_stringn(px_buffer_string(&script), script.length), px_buffer_shown(&name)), folder);
    }
}

static void serve_start(struct px_http_request *request)
{
    const json_t *process = json_object_get(request->json, "process");
    const char *cwd = json_string_value(json_object_get(process, "cwd"));
    px_auto(command_done) struct e2b_command command = {0};
    pyexec_error error;
    const char *folder = px_e2b_relative(cwd && *cwd ? cwd : PX_E2B_HOME, &error);
    if (!folder || parse_command(shell_command(process), &command, &error) < 0 ||
        px_e2b_ensure_session(request, &error) < 0)
        answer_refusal(request, &error);
    else if (command.file)
        run_file(request, command.file, folder);
    else
        run_code(request, wrap(json_string(command.code), "<string>"), folder);
}

void px_e2b_start(struct px_http_request *request)
{
    pyexec_error error;
    if (read_frame(request, &error) < 0)
        answer_refusal(request, &error);
    else if (px_e2b_enter(request, PX_E2B_DEFAULT) && px_http_request_move(request, serve_start, &error) < 0)
        answer_refusal(request, &error);
}

void px_e2b_process(struct px_http_request *request)
{
    px_respond_json(request, MHD_HTTP_NOT_IMPLEMENTED,
                    px_json_take_text(json_pack(
                        "{s:s, s:s}", "code", "unimplemented", "message",
                        "there are no processes. commands.run() works for `python FILE` and `python -c CODE`")));
}
