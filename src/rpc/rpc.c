/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/rpc.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/retry.h"
#include "base/spelling.h"
#include "pyexec.h"
#include "rpc/rpc_private.h"

#define PROTOCOL 1
#define DRAIN_TICK_MS 20

/* ---- Methods that are answered at once ---- */

static void answer_buffer(struct px_rpc *rpc, const char *id, const struct px_buffer *json)
{
    pyexec_error error;
    if (px_buffer_ok(json)) {
        px_rpc_answer(rpc, id, px_buffer_string(json));
        return;
    }
    px_error_oom(&error);
    px_rpc_fail(rpc, id, &error);
}

/* Answers with this JSON text, and takes ownership of it. With a key, the answer is {KEY: TEXT}. */
static void answer_text(struct px_rpc *rpc, const char *id, int status, char *text, const char *key,
                        const pyexec_error *error)
{
    px_auto_free char *taken = text;
    struct px_buffer px_auto_buffer json = {0};
    if (status < 0) {
        px_rpc_fail(rpc, id, error);
        return;
    }
    px_buffer_printf(&json, key ? "{\"%s\":" : "%s", key ? key : "");
    px_buffer_add_string(&json, taken);
    px_buffer_add_string(&json, key ? "}" : "");
    answer_buffer(rpc, id, &json);
}

static void answer_status(struct px_rpc *rpc, const char *id, int status, const pyexec_error *error)
{
    if (status < 0)
        px_rpc_fail(rpc, id, error);
    else
        px_rpc_answer(rpc, id, "{}");
}

static int open_executor(struct px_rpc *rpc, const json_t *params, pyexec_error *error)
{
    const json_t *protocol = json_object_get(params, "protocol");
    if (rpc->executor) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "initialize: already done");
        return px_error_hint(error, "Start another `pyexec rpc` for another policy.");
    }
    if (json_integer_value(protocol) != PROTOCOL) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "initialize: protocol must be %d", PROTOCOL);
        return px_error_hint(error, "Send {\"protocol\": %d}, or use a client of the same version as pyexec.",
                             PROTOCOL);
    }
    px_auto_json json_t *config = px_json_copy(params);
    json_object_del(config, "protocol");
    const char *name;
    json_t *section;
    json_object_foreach((json_t *)(uintptr_t)rpc->defaults, name, section)
        if (!json_object_get(config, name))
            px_json_set(config, name, json_incref(section));
    if (!config)
        return px_error_oom(error);
    if (pyexec_executor_open_object(config, &rpc->executor, error) < 0)
        return -1;
    return rpc->opened ? rpc->opened(rpc->closure, rpc->executor, error) : 0;
}

static void initialize(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    if (open_executor(rpc, params, &error) < 0) {
        px_rpc_fail(rpc, id, &error);
        return;
    }
    const char *info = pyexec_executor_info_json(rpc->executor);
    struct px_buffer px_auto_buffer answer = {0};
    px_buffer_printf(&answer, "{\"protocol\":%d,%s", PROTOCOL, info + 1);
    answer_buffer(rpc, id, &answer);
}

static const char *string_of(const json_t *params, const char *key)
{
    const char *text = json_string_value(json_object_get(params, key));
    return text ? text : "";
}

static void ping(struct px_rpc *rpc, const char *id, const json_t *params)
{
    (void)params;
    px_rpc_answer(rpc, id, "{}");
}

static void shut_down(struct px_rpc *rpc, const char *id, const json_t *params)
{
    ping(rpc, id, params);
    rpc->lines.stopping = true;
}

static void stop_request(struct px_rpc *rpc, const char *id, const json_t *target, bool cancel)
{
    pyexec_error error;
    px_auto_free char *text = target ? px_json_dumps(target, PX_RPC_ID_FLAGS) : NULL;
    int status = text ? px_rpc_stop(rpc, text, cancel) : -1;
    if (target && !text) {
        px_error_oom(&error);
    } else if (status < 0) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "request: no such request is running");
        px_error_hint(&error, "Give the id of an execute or execute_once that has no answer yet.");
    }
    answer_status(rpc, id, status, &error);
}

static void interrupt(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    const json_t *target = json_object_get(params, "request");
    if (target)
        stop_request(rpc, id, target, false);
    else
        answer_status(rpc, id, pyexec_session_interrupt(rpc->executor, string_of(params, "session_id"), &error),
                      &error);
}

static void cancel(struct px_rpc *rpc, const char *id, const json_t *params)
{
    stop_request(rpc, id, json_object_get(params, "request"), true);
}

static void close_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    answer_status(rpc, id, pyexec_session_close(rpc->executor, string_of(params, "session_id"), &error), &error);
}

static void close_all(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_session_close_all(rpc->executor);
    ping(rpc, id, params);
}

static void list_sessions(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_sessions_json(rpc->executor, &text, &error);
    answer_text(rpc, id, status, text, "sessions", &error);
}

static void list_environments(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_environments_json(rpc->executor, NULL, &text, &error);
    answer_text(rpc, id, status, text, "environments", &error);
}

static void stats(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_stats_json(rpc->executor, &text, &error);
    answer_text(rpc, id, status, text, NULL, &error);
}

static void doctor(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_executor_doctor_json(rpc->executor, &text, &error);
    answer_text(rpc, id, status, text, NULL, &error);
}

static void list_files(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    int status = pyexec_session_list_files(rpc->executor, string_of(params, "session_id"), &text, &error);
    answer_text(rpc, id, status, text, "files", &error);
}

static void read_file(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    void *bytes = NULL;
    size_t length = 0;
    struct px_buffer px_auto_buffer text = {0};
    if (pyexec_session_read_file(rpc->executor, string_of(params, "session_id"), string_of(params, "path"), &bytes,
                                 &length, &error) < 0) {
        px_rpc_fail(rpc, id, &error);
        return;
    }
    px_buffer_printf(&text, "{\"bytes\":%zu,\"content_base64\":\"", length);
    px_base64_encode(&text, bytes, length);
    px_buffer_add_string(&text, "\"}");
    free(bytes);
    answer_buffer(rpc, id, &text);
}

static int no_content(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "write_file: needs content or content_base64");
    return px_error_hint(error, "Send text as content, or any bytes as content_base64: the "
                                "standard alphabet (+ and /) with its padding.");
}

static void write_file(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    struct px_buffer px_auto_buffer bytes = {0};
    const json_t *encoded = json_object_get(params, "content_base64");
    const json_t *plain = json_object_get(params, "content");
    int status = 0;
    if (json_is_string(plain))
        px_buffer_add(&bytes, json_string_value(plain), json_string_length(plain));
    else if (!json_is_string(encoded) ||
             px_base64_decode(&bytes, json_string_value(encoded), json_string_length(encoded)) < 0)
        status = no_content(&error);
    if (!px_buffer_ok(&bytes))
        status = px_error_oom(&error);
    if (status == 0)
        status = pyexec_session_write_file(rpc->executor, string_of(params, "session_id"), string_of(params, "path"),
                                           px_buffer_string(&bytes), bytes.length, &error);
    answer_status(rpc, id, status, &error);
}

static void delete_file(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    answer_status(
        rpc, id,
        pyexec_session_delete_file(rpc->executor, string_of(params, "session_id"), string_of(params, "path"), &error),
        &error);
}

/* ---- The table ---- */

static const struct {
    const char *name;
    void (*serve)(struct px_rpc *rpc, const char *id, const json_t *params);
    bool before_initialize;
    const char *params; /* the params that it accepts, separated by spaces; "*": the method itself checks them */
} methods[] = {
    {"initialize", initialize, true, "protocol policy session host env egress"},
    {"execute_once", px_rpc_execute, false, "*"},
    {"execute", px_rpc_execute_session, false, "*"},
    {"interrupt", interrupt, false, "session_id request"},
    {"cancel", cancel, false, "request"},
    {"create_session", px_rpc_create_session, false, "session_id policy tools"},
    {"fork_session", px_rpc_fork_session, false, "session_id ids count"},
    {"verify", px_rpc_verify, false, "*"},
    {"undo", px_rpc_undo, false, "session_id to"},
    {"reset_session", px_rpc_reset_session, false, "session_id"},
    {"close_session", close_session, false, "session_id"},
    {"close_all", close_all, false, ""},
    {"list_sessions", list_sessions, false, ""},
    {"list_environments", list_environments, false, ""},
    {"list_files", list_files, false, "session_id"},
    {"read_file", read_file, false, "session_id path"},
    {"write_file", write_file, false, "session_id path content content_base64"},
    {"delete_file", delete_file, false, "session_id path"},
    {"doctor", doctor, false, ""},
    {"stats", stats, false, ""},
    {"ping", ping, true, ""},
    {"move_answers", px_rpc_move_answers, true, "path"},
    {"shutdown", shut_down, true, ""},
};

/* Returns the first key that the method does not accept, or NULL. */
static const char *unknown_param(const char *allowed, json_t *params)
{
    const char *key;
    json_t *value;
    if (*allowed == '*')
        return NULL;
    json_object_foreach(params, key, value) {
        if (!px_word_is_listed(allowed, key))
            return key;
    }
    return NULL;
}

/* The library uses these parameters as C strings, so they must not contain a NUL. */
static int check_names(json_t *params, pyexec_error *error)
{
    static const char *const names[] = {"session_id", "path"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        const json_t *value = json_object_get(params, names[i]);
        if (!value || (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value)))
            continue;
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: must be a string without NUL characters", names[i]);
        return px_error_hint(error, "Remove the NUL characters from %s, or send it as a string.", names[i]);
    }
    return 0;
}

static void dispatch(struct px_rpc *rpc, const char *method, const char *id, json_t *params)
{
    size_t i = 0;
    while (i < PX_COUNT(methods) && strcmp(methods[i].name, method) != 0)
        i++;
    if (i == PX_COUNT(methods)) {
        if (id)
            px_rpc_refuse(rpc, id, PX_RPC_METHOD_NOT_FOUND, "no such method");
        return;
    }
    const char *unknown = unknown_param(methods[i].params, params);
    if (unknown) {
        struct px_buffer px_auto_buffer text = {0};
        px_buffer_printf(&text, "%s takes no '%.100s'", method, unknown);
        if (id)
            px_rpc_refuse(rpc, id, PX_RPC_INVALID_PARAMS, px_buffer_shown(&text));
        return;
    }
    pyexec_error error;
    int status = check_names(params, &error);
    if (status == 0 && !rpc->executor && !methods[i].before_initialize) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s: call initialize first", method);
        status = px_error_hint(&error, "The first request is initialize with {\"protocol\": %d}.", PROTOCOL);
    }
    if (status < 0)
        px_rpc_fail(rpc, id, &error);
    else
        methods[i].serve(rpc, id, params);
}

/* Answers a line that jansson refuses. If the line answers a tool call, the call fails instead. `code` is 0 if the
 * line is valid JSON by the standard and has an id, else the error code of JSON-RPC. */
static void refuse_line(struct px_rpc *rpc, const char *line, size_t length, const json_error_t *problem)
{
    struct px_buffer px_auto_buffer id = {0};
    pyexec_error error;
    int code = px_json_diagnose_message(line, length, problem, &id, &error);
    if (!code && px_rpc_take_bad_answer(rpc, px_buffer_shown(&id), px_buffer_length(&id), PX_RPC_PYEXEC_FAILED, &error))
        return;
    if (!code) {
        px_rpc_fail(rpc, px_buffer_shown(&id), &error);
        return;
    }
    const char *start;
    size_t id_length = px_json_diagnose_find_id(line, length, &start);
    px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s", problem->text);
    px_error_hint(&error, "Send one JSON object on each line.");
    if (!px_rpc_take_bad_answer(rpc, start, id_length, code, &error))
        px_rpc_refuse(rpc, NULL, code, problem->text);
}

static void lose_line(struct px_rpc *rpc, const char *line, size_t length)
{
    const char *id;
    pyexec_error error;
    size_t id_length = px_json_diagnose_find_id(line, length, &id);
    px_error_oom(&error);
    if (!px_rpc_take_bad_answer(rpc, id, id_length, PX_RPC_PYEXEC_FAILED, &error))
        px_rpc_lose(rpc, id, id_length);
}

static void refuse_long_line(struct px_rpc *rpc, const char *line, size_t length)
{
    static const char why[] = "a line is longer than 32 MiB";
    const char *id;
    pyexec_error error;
    size_t id_length = px_json_diagnose_find_id(line, length, &id);
    px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s", why);
    px_error_hint(&error, "Send less at once.");
    if (!px_rpc_take_bad_answer(rpc, id, id_length, PX_RPC_INVALID_REQUEST, &error))
        px_rpc_refuse(rpc, NULL, PX_RPC_INVALID_REQUEST, why);
}

static bool is_valid_id(const json_t *id)
{
    return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* Returns false when there is no memory for the message. */
static bool take_message(struct px_rpc *rpc, const json_t *message)
{
    const json_t *given = json_object_get(message, "id");
    const char *version = json_string_value(json_object_get(message, "jsonrpc"));
    const json_t *named = json_object_get(message, "method");
    const char *method = json_string_value(named);
    json_t *params = json_object_get(message, "params");
    px_auto_json json_t *none = params ? NULL : json_object();
    px_auto_free char *id = is_valid_id(given) ? px_json_dumps(given, PX_RPC_ID_FLAGS) : NULL;
    if ((!params && !none) || (is_valid_id(given) && !id))
        return false;
    if (!named && px_rpc_take_answer(rpc, message, id))
        return true;
    if (!json_is_object(message) || !version || strcmp(version, "2.0") != 0 || !method || (given && !id))
        px_rpc_refuse(rpc, id, PX_RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request");
    else if (params && !json_is_object(params))
        px_rpc_refuse(rpc, id, PX_RPC_INVALID_PARAMS, "params must be an object");
    else
        dispatch(rpc, method, id, params ? params : none);
    return true;
}

static void handle_line(void *closure, const char *line, size_t length, enum px_line_state state)
{
    struct px_rpc *rpc = closure;
    json_error_t problem;
    if (state == PX_LINE_TOO_LONG) {
        refuse_long_line(rpc, line, length);
        return;
    }
    bool whole = state == PX_LINE_WHOLE;
    px_auto_json json_t *message =
        whole ? px_json_read(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem) : NULL;
    if (whole && !message && !px_json_no_memory(&problem))
        refuse_line(rpc, line, length, &problem);
    else if (!message || !take_message(rpc, message))
        lose_line(rpc, line, length);
}

/* ---- The connection ---- */

static void end_stream(struct px_rpc *rpc, pthread_t thread)
{
    pthread_mutex_lock(&rpc->tasks.lock);
    rpc->ended = true;
    pthread_cond_signal(&rpc->held);
    pthread_mutex_unlock(&rpc->tasks.lock);
    pthread_join(thread, NULL);
}

/* Called after the end of input: waits until all requests are answered. Returns earlier after a shutdown request,
 * when `stop` becomes readable, and when no program can read the output any more (a pipe without readers:
 * poll(2)). */
static void drain_requests(struct px_rpc *rpc)
{
    struct pollfd fds[] = {{rpc->lines.output, 0, 0}, {rpc->lines.stop, POLLIN, 0}};
    while (!rpc->lines.stopping && !rpc->lines.output_gone && !px_tasks_idle(&rpc->tasks))
        if (px_poll(fds, PX_COUNT(fds), DRAIN_TICK_MS) > 0)
            return;
}

int px_rpc_serve(int input, int output, int stop, bool drain, const json_t *defaults, px_rpc_opened_fn opened,
                 void *closure)
{
    struct px_rpc rpc = {.defaults = defaults, .opened = opened, .closure = closure};
    pthread_t streaming;
    px_line_transport_init(&rpc.lines, output, stop);
    px_tasks_init(&rpc.tasks);
    pthread_cond_init(&rpc.held, NULL);
    /* If the thread can't be started, the output of a run is sent when the run ends. */
    bool streams = pthread_create(&streaming, NULL, px_rpc_stream, &rpc) == 0;
    px_line_server_run(&rpc.server, &rpc.lines, &rpc.tasks, input, handle_line, &rpc);
    if (drain) {
        px_rpc_end_answers(&rpc);
        drain_requests(&rpc);
    }
    px_tasks_stop(&rpc.tasks);
    px_line_server_end(&rpc.server);
    if (streams)
        end_stream(&rpc, streaming);
    pyexec_executor_free(rpc.executor);
    pthread_cond_destroy(&rpc.held);
    px_tasks_done(&rpc.tasks);
    px_line_transport_done(&rpc.lines);
    return rpc.lines.output_errno;
}
