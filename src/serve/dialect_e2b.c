/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's code interpreter: POST /execute and /contexts, as E2B's server implements them and its SDKs call them. A
 * context is a session (e2b_sandbox.h). A context is known until it is deleted: when its session has ended (kill,
 * TTL), the next call begins a new session with the same folder. Errors are plain text. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/mime.h"
#include "serve/dialect.h"
#include "serve/e2b_sandbox.h"
#include "serve/route.h"
#include "serve/run_request.h"
#include "serve/server.h"
#include "serve/sse.h"

#define CWD_MAX 1024u

/* ---- Lines of an execution ---- */

/* An execution. When a cell ends with an exception, stderr has the traceback too, but E2B's server sends it only
 * as `error`, as Jupyter does. So stderr from the start of a traceback is held back until more output, or the end,
 * shows whether it was the last one. */
struct execution {
    struct px_http_request *request;
    struct px_buffer held;
};

static void let_go(struct execution *execution)
{
    if (execution->held.length)
        px_sse_output(execution->request, 2, execution->held.data, execution->held.length);
    px_buffer_consume(&execution->held, execution->held.length);
}

size_t px_e2b_find_traceback(const char *bytes, size_t length)
{
    static const char *const starts[] = {"Traceback (most recent call last):\n", "  File \"<cell"};
    for (size_t line = 0; line < length;) {
        for (size_t i = 0; i < PX_COUNT(starts); i++)
            if (length - line >= strlen(starts[i]) && memcmp(bytes + line, starts[i], strlen(starts[i])) == 0)
                return line;
        const char *newline = memchr(bytes + line, '\n', length - line);
        line = newline ? (size_t)(newline - bytes) + 1 : length;
    }
    return length;
}

/* A pyexec_output_fn. */
static int print(void *closure, int which, const char *bytes, size_t length)
{
    struct execution *execution = closure;
    let_go(execution);
    size_t shown = which == 2 ? px_e2b_find_traceback(bytes, length) : length;
    if (shown)
        px_sse_output(execution->request, which, bytes, shown);
    px_buffer_add(&execution->held, bytes + shown, length - shown);
    return px_http_request_is_lost(execution->request);
}

/* Called at the end: drops the traceback of the error from the held text and sends the rest. */
static void drop_traceback(struct execution *execution, const pyexec_result *result)
{
    const char *traceback = pyexec_result_error_traceback(result);
    size_t length = traceback ? strlen(traceback) : 0;
    struct px_buffer *held = &execution->held;
    if (length && held->length >= length && memcmp(held->data + held->length - length, traceback, length) == 0)
        held->length -= length;
    let_go(execution);
}

/* Takes ownership of `line`. */
static void send_line(struct px_http_request *request, json_t *line)
{
    px_auto_free char *text = px_json_take_text(line);
    if (text)
        px_sse_send(request, NULL, text);
}

/* E2B's clients expect strings, so a missing value becomes "". */
static void send_error(struct px_http_request *request, const char *name, const char *value, const char *traceback)
{
    send_line(request, json_pack("{s:s, s:s, s:s, s:s}", "type", "error", "name", name ? name : "", "value",
                                 value ? value : "", "traceback", traceback ? traceback : ""));
}

static const char *field_of(const char *mime)
{
    static const struct {
        const char *mime, *field;
    } fields[] = {
        {"text/plain", "text"},        {"text/html", "html"},
        {"text/markdown", "markdown"}, {"image/svg+xml", "svg"},
        {"image/png", "png"},          {"image/jpeg", "jpeg"},
        {"application/pdf", "pdf"},    {"text/latex", "latex"},
        {"application/json", "json"},  {"application/javascript", "javascript"},
    };
    for (size_t i = 0; i < PX_COUNT(fields); i++)
        if (strcmp(mime, fields[i].mime) == 0)
            return fields[i].field;
    return NULL;
}

/* E2B's server shows a string without its quotes. */
static void unquote(const char **text, size_t *length)
{
    if (*length < 2 || (*text)[0] != '\'' || (*text)[*length - 1] != '\'')
        return;
    ++*text;
    *length -= 2;
}

/* Appends a form: text, the script's JSON unchanged, or base64. */
static void add_form(struct px_buffer *out, const char *mime, const char *data, size_t length)
{
    switch (px_mime_of(mime, strlen(mime))) {
    case PX_MIME_TEXT:
        px_json_text_string(out, data, length);
        return;
    case PX_MIME_JSON:
        px_buffer_add(out, data, length);
        return;
    default:
        px_buffer_add_byte(out, '"');
        px_base64_encode(out, data, length);
        px_buffer_add_byte(out, '"');
    }
}

static void send_display(struct px_http_request *request, const pyexec_display *display)
{
    px_auto_buffer struct px_buffer line = {0}, extra = {0};
    px_buffer_printf(&line, "{\"type\":\"result\",\"is_main_result\":%s",
                     pyexec_display_last_value(display) ? "true" : "false");
    for (size_t i = 0; i < pyexec_display_form_count(display); i++) {
        size_t length;
        const char *mime = pyexec_display_form_type(display, i), *field = field_of(mime);
        const char *data = pyexec_display_form_data(display, i, &length);
        px_buffer_printf(field ? &line : &extra, "%s\"%s\":", field || extra.length ? "," : "", field ? field : mime);
        if (field && strcmp(field, "text") == 0)
            unquote(&data, &length);
        add_form(field ? &line : &extra, mime, data, length);
    }
    px_buffer_add_string(&line, ",\"extra\":{");
    px_buffer_add(&line, px_buffer_string(&extra), extra.length);
    px_buffer_add_string(&line, "}}");
    if (px_buffer_ok(&line) && px_buffer_ok(&extra))
        px_sse_send(request, NULL, px_buffer_string(&line));
}

/* A pyexec_display_object_fn. */
static int show(void *closure, const pyexec_display *display)
{
    struct execution *execution = closure;
    let_go(execution);
    send_display(execution->request, display);
    return px_http_request_is_lost(execution->request);
}

static bool has_shown_value(const pyexec_result *result)
{
    for (size_t i = 0; i < pyexec_result_display_count(result); i++)
        if (pyexec_display_last_value(pyexec_result_display(result, i)))
            return true;
    return false;
}

static void send_value(struct px_http_request *request, const pyexec_result *result)
{
    size_t length;
    const char *value = pyexec_result_last_value_text(result, &length);
    if (!value || has_shown_value(result))
        return;
    unquote(&value, &length);
    send_line(request, json_pack("{s:s, s:b, s:s%}", "type", "result", "is_main_result", 1, "text", value, length));
}

static void send_outcome(struct px_http_request *request, const pyexec_result *result)
{
    pyexec_status status = pyexec_result_status(result);
    if (pyexec_result_error_type(result))
        send_error(request, pyexec_result_error_type(result), pyexec_result_error_message(result),
                   pyexec_result_error_traceback(result));
    else if (status != PYEXEC_STATUS_OK)
        send_error(request, pyexec_status_name(status), pyexec_result_error_repr(result), NULL);
}

/* Sends notes that E2B's protocol has no field for, as text on stderr. */
static void send_notes(struct px_http_request *request, const pyexec_result *result)
{
    px_auto_buffer struct px_buffer text = {0};
    const char *why = pyexec_result_session_restarted(result);
    px_dialect_add_cut(&text, result);
    if (pyexec_result_display_dropped(result))
        px_buffer_add_string(&text, "[pyexec: displays beyond the policy's limits are left out]\n");
    if (why)
        px_buffer_printf(&text, "[pyexec: the earlier state of the context is lost (%s)]\n", why);
    if (text.length)
        px_sse_output(request, 2, px_buffer_string(&text), text.length);
}

static void send_result(struct execution *execution, pyexec_result *result)
{
    struct px_http_request *request = execution->request;
    drop_traceback(execution, result);
    send_notes(request, result);
    send_value(request, result);
    send_outcome(request, result);
    send_line(request, json_pack("{s:s, s:I}", "type", "number_of_executions", "execution_count",
                                 (json_int_t)pyexec_result_session_execution_count(result)));
}

/* ---- Execution ---- */

int px_e2b_add_environment(pyexec_request *run, json_t *variables, pyexec_error *error)
{
    const char *name;
    json_t *value;
    bool good = !variables || json_is_object(variables) || json_is_null(variables);
    json_object_foreach(variables, name, value) {
        good = good && json_is_string(value);
        if (good && pyexec_request_set_env(run, name, json_string_value(value)) < 0)
            return px_error_oom(error);
    }
    if (good)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "env_vars must be an object of strings");
    return px_error_hint(error, "Send {\"NAME\": \"value\"}.");
}

/* Returns the folder of the workspace for `cwd`; PX_E2B_HOME is the workspace itself. NULL when it is outside. */
static const char *folder_of(const char *cwd)
{
    size_t home = strlen(PX_E2B_HOME);
    if (strncmp(cwd, PX_E2B_HOME, home) == 0 && (!cwd[home] || cwd[home] == '/'))
        return cwd + home + strspn(cwd + home, "/");
    return *cwd == '/' ? NULL : cwd;
}

static pyexec_request *make_run(struct px_http_request *request, const char *cwd, pyexec_error *error)
{
    const char *folder = folder_of(cwd);
    pyexec_request *run = px_dialect_run(request, json_object_get(request->json, "code"), error);
    if (!run)
        return NULL;
    if (pyexec_request_set_workspace_path(run, PX_E2B_HOME) < 0 ||
        (*folder && pyexec_request_set_working_dir(run, folder) < 0))
        px_error_oom(error);
    else if (px_e2b_add_environment(run, json_object_get(request->json, "env_vars"), error) == 0)
        return run;
    pyexec_request_free(run);
    return NULL;
}

/* Runs in the schedule of runs, in order with the other calls of the context. */
static void run(struct px_http_request *request)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    px_auto_free char *cwd = px_e2b_use_context(request);
    if (!cwd) { /* deleted since the request came */
        px_e2b_answer_unknown(request, px_e2b_context_id(request->session));
        return;
    }
    pyexec_request *wanted = make_run(request, cwd, &error);
    if (!wanted || px_sse_begin_lines(request) < 0) {
        if (wanted)
            px_error_oom(&error);
        px_e2b_answer_failure(request, &error);
        pyexec_request_free(wanted);
        return;
    }
    struct execution execution = {.request = request};
    pyexec_request_set_output(wanted, print, &execution);
    pyexec_request_set_display_object(wanted, show, &execution);
    if (px_run_request(request, wanted, &result, &error) == 0) {
        send_result(&execution, result);
    } else {
        let_go(&execution);
        px_dialect_failed(request, &error);
        send_error(request, pyexec_code_name(error.code), error.message, error.hint);
    }
    px_sse_end(request, NULL, "{\"type\":\"end_of_execution\"}");
    px_buffer_done(&execution.held);
    pyexec_result_free(result);
    pyexec_request_free(wanted);
}

/* Returns false when the request has been answered. */
static bool check_language(struct px_http_request *request, const json_t *language)
{
    const char *text = json_string_value(language);
    if (!language || json_is_null(language) || (text && strcasecmp(text, "python") == 0))
        return true;
    char message[160];
    snprintf(message, sizeof message, "language '%.60s' is not supported: this is pyexec, which runs only Python",
             text ? text : "?");
    px_e2b_refuse(request, message);
    return false;
}

/* Makes the context the request's session. Returns false when the request has been answered. */
static bool find_context(struct px_http_request *request)
{
    const json_t *language = json_object_get(request->json, "language");
    const char *id = json_string_value(json_object_get(request->json, "context_id"));
    if (id && json_is_string(language)) {
        px_e2b_refuse(request, "Only one of context_id or language can be provided");
        return false;
    }
    if (!check_language(request, language))
        return false;
    if (!px_e2b_enter(request, id ? id : PX_E2B_DEFAULT))
        return false;
    px_auto_free char *cwd = px_e2b_use_context(request);
    if (!cwd)
        px_e2b_answer_unknown(request, id);
    return cwd;
}

void px_e2b_execute(struct px_http_request *request)
{
    pyexec_error error;
    if (!px_dialect_body(request, &error)) {
        px_e2b_answer_failure(request, &error);
        return;
    }
    if (!json_is_string(json_object_get(request->json, "code"))) {
        px_e2b_refuse(request, "code: a text is required");
        return;
    }
    if (find_context(request) && px_http_request_move(request, run, &error) < 0)
        px_e2b_answer_failure(request, &error);
}

/* ---- The routes of contexts ---- */

static bool leaves_home(const char *folder)
{
    for (const char *at = folder; at; at = strchr(at, '/')) {
        at += strspn(at, "/");
        if (strncmp(at, "..", 2) == 0 && (!at[2] || at[2] == '/'))
            return true;
    }
    return false;
}

void px_e2b_create(struct px_http_request *request)
{
    pyexec_error error;
    if (request->body.length && !px_dialect_body(request, &error)) {
        px_e2b_answer_failure(request, &error);
        return;
    }
    if (!check_language(request, json_object_get(request->json, "language")))
        return;
    const char *given = json_string_value(json_object_get(request->json, "cwd"));
    const char *cwd = given && *given ? given : PX_E2B_HOME, *folder = folder_of(cwd);
    if (!folder || leaves_home(folder) || strlen(cwd) > CWD_MAX) {
        char message[384];
        snprintf(message, sizeof message,
                 "cwd '%.200s' is not " PX_E2B_HOME " or a folder in it, which stands for the context's workspace",
                 cwd);
        px_e2b_refuse(request, message);
        return;
    }
    if (!px_e2b_enter(request, PX_E2B_DEFAULT))
        return;
    if (px_e2b_add_context(request, cwd, &error) < 0)
        px_e2b_answer_failure(request, &error);
    else
        px_respond_json(request, MHD_HTTP_OK,
                        px_json_take_text(px_e2b_describe(px_e2b_context_id(request->session), cwd)));
}

void px_e2b_list(struct px_http_request *request)
{
    if (px_e2b_enter(request, PX_E2B_DEFAULT))
        px_respond_json(request, MHD_HTTP_OK, px_json_take_text(px_e2b_contexts(request)));
}

/* The session may not have begun yet, or may have ended already. */
static void end_session(struct px_http_request *request)
{
    pyexec_error error;
    if (pyexec_session_close(request->server->executor, request->session_key, &error) < 0 &&
        error.code != PYEXEC_SESSION_NOT_FOUND)
        px_e2b_answer_failure(request, &error);
    else
        px_respond_json(request, MHD_HTTP_OK, strdup("null"));
}

void px_e2b_delete(struct px_http_request *request)
{
    if (!px_e2b_enter(request, request->session))
        return;
    if (px_e2b_forget_context(request))
        end_session(request);
    else
        px_e2b_answer_unknown(request, px_e2b_context_id(request->session));
}

void px_e2b_restart(struct px_http_request *request)
{
    if (!px_e2b_enter(request, request->session))
        return;
    px_auto_free char *cwd = px_e2b_use_context(request);
    if (cwd)
        end_session(request);
    else
        px_e2b_answer_unknown(request, px_e2b_context_id(request->session));
}
