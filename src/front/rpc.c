#include "front/rpc.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/utf8.h"
#include "base/base64.h"
#include "front/rpc_private.h"
#include "pyexec.h"

#define LINE_MAX_BYTES (32u << 20)      /* CONTRACT section 5 */
#define PROTOCOL 1

/* JSON-RPC 2.0, section 5.1. */
enum { PARSE_ERROR = -32700, INVALID_REQUEST = -32600, METHOD_NOT_FOUND = -32601,
       INVALID_PARAMS = -32602, PYEXEC_FAILED = -32000 };

void px_rpc_send(struct px_rpc *rpc, json_t *message)
{
    char *text = px_json_take_text(message);
    if (!text)
        return;
    pthread_mutex_lock(&rpc->output_lock);
    if (!rpc->output_gone && (px_write_all(rpc->output, text, strlen(text)) < 0 ||
                              px_write_all(rpc->output, "\n", 1) < 0))
        rpc->output_gone = true;
    pthread_mutex_unlock(&rpc->output_lock);
    free(text);
}

static json_t *reply(const json_t *id)
{
    return json_pack("{s:s, s:O}", "jsonrpc", "2.0", "id", id);
}

/* `result` is taken. A notification (no id) gets no answer. */
void px_rpc_answer(struct px_rpc *rpc, const json_t *id, json_t *result)
{
    json_t *message = id ? reply(id) : NULL;
    if (message)
        json_object_set_new(message, "result", result ? result : json_null());
    else
        json_decref(result);
    px_rpc_send(rpc, message);
}

static void fail(struct px_rpc *rpc, const json_t *id, int code, const char *text)
{
    json_t *message = json_pack("{s:s, s:O?, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error",
                                "code", code, "message", text);
    if (message && !id)
        json_object_set_new(message, "id", json_null());
    px_rpc_send(rpc, message);
}

void px_rpc_fail(struct px_rpc *rpc, const json_t *id, const pyexec_error *error)
{
    json_t *message = id ? reply(id) : NULL;
    json_t *data = json_pack("{s:s, s:s, s:s}", "code", pyexec_code_name(error->code), "message",
                             error->message, "hint", error->hint);
    if (data && error->retry_after_ms)
        json_object_set_new(data, "retry_after_ms", json_integer(error->retry_after_ms));
    if (message)
        json_object_set_new(message, "error",
                            json_pack("{s:i, s:s, s:o}", "code", PYEXEC_FAILED, "message",
                                      error->message, "data", data));
    else
        json_decref(data);
    px_rpc_send(rpc, message);
}

/* ---- Methods that are answered at once ---- */

static void answer_text(struct px_rpc *rpc, const json_t *id, int status, char *text,
                        const char *key, const pyexec_error *error)
{
    json_t *value = status == 0 ? json_loads(text, 0, NULL) : NULL;
    if (status < 0)
        px_rpc_fail(rpc, id, error);
    else if (key)
        px_rpc_answer(rpc, id, json_pack("{s:o}", key, value));
    else
        px_rpc_answer(rpc, id, value);
    free(text);
}

static void answer_status(struct px_rpc *rpc, const json_t *id, int status,
                          const pyexec_error *error)
{
    if (status < 0)
        px_rpc_fail(rpc, id, error);
    else
        px_rpc_answer(rpc, id, json_object());
}

static void initialize(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    json_t *config = json_deep_copy(params);
    json_int_t protocol = json_integer_value(json_object_get(config, "protocol"));
    json_object_del(config, "protocol");
    if (rpc->executor)
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "initialize: done already");
    else if (protocol != PROTOCOL)
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "initialize: protocol must be %d", PROTOCOL);
    else {
        px_auto_free char *text = json_dumps(config, JSON_COMPACT);
        if (text && pyexec_executor_open(text, &rpc->executor, &error) == 0) {
            json_t *info = json_loads(pyexec_executor_info_json(rpc->executor), 0, NULL);
            json_object_set_new(info, "protocol", json_integer(PROTOCOL));
            px_rpc_answer(rpc, id, info);
            json_decref(config);
            return;
        }
    }
    json_decref(config);
    px_rpc_fail(rpc, id, &error);
}

static const char *string_of(const json_t *params, const char *key)
{
    const char *text = json_string_value(json_object_get(params, key));
    return text ? text : "";
}

static void ping(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    (void)params;
    px_rpc_answer(rpc, id, json_object());
}

static void shut_down(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    ping(rpc, id, params);
    rpc->stopping = true;
}

static void stop_request(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    const json_t *target = json_object_get(params, "request");
    const char *session = json_string_value(json_object_get(params, "session_id"));
    int status;
    if (target)
        status = px_rpc_stop(rpc, target, rpc->cancelling);
    else
        status = pyexec_session_interrupt(rpc->executor, session ? session : "", &error);
    if (target && status < 0)
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "no such request is running");
    answer_status(rpc, id, status, &error);
}

static void interrupt(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    rpc->cancelling = false;
    stop_request(rpc, id, params);
}

static void cancel(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    rpc->cancelling = true;
    stop_request(rpc, id, params);
}

static void close_session(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    answer_status(rpc, id,
                  pyexec_session_close(rpc->executor, string_of(params, "session_id"), &error),
                  &error);
}

static void close_all(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_session_close_all(rpc->executor);
    ping(rpc, id, params);
}

static void list_sessions(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_sessions_json(rpc->executor, &text, &error);
    answer_text(rpc, id, status, text, "sessions", &error);
}

static void stats(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_stats_json(rpc->executor, &text, &error);
    answer_text(rpc, id, status, text, NULL, &error);
}

static void doctor(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    (void)params;
    int status = pyexec_doctor(pyexec_executor_policy_json(rpc->executor), NULL, false, &text, &error);
    answer_text(rpc, id, status, text, NULL, &error);
}

static void list_files(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    char *text = NULL;
    int status = pyexec_session_list_files(rpc->executor, string_of(params, "session_id"), &text, &error);
    answer_text(rpc, id, status, text, "files", &error);
}

static void read_file(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    void *bytes = NULL;
    size_t length = 0;
    struct px_buffer px_auto_buffer text = {0};
    if (pyexec_session_read_file(rpc->executor, string_of(params, "session_id"),
                                 string_of(params, "path"), &bytes, &length, &error) < 0) {
        px_rpc_fail(rpc, id, &error);
        return;
    }
    px_base64_encode(&text, bytes, length);
    free(bytes);
    px_rpc_answer(rpc, id, json_pack("{s:s, s:I}", "content_base64", px_buffer_string(&text),
                                     "bytes", (json_int_t)length));
}

static void write_file(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    struct px_buffer px_auto_buffer bytes = {0};
    const json_t *encoded = json_object_get(params, "content_base64");
    const json_t *plain = json_object_get(params, "content");
    int status = 0;
    if (json_is_string(plain))
        px_buffer_add(&bytes, json_string_value(plain), json_string_length(plain));
    else if (!json_is_string(encoded) || px_base64_decode(&bytes, json_string_value(encoded),
                                                          json_string_length(encoded)) < 0)
        status = px_error_set(&error, PYEXEC_INVALID_REQUEST,
                              "write_file: needs content (text) or content_base64");
    if (status == 0)
        status = pyexec_session_write_file(rpc->executor, string_of(params, "session_id"),
                                           string_of(params, "path"), px_buffer_string(&bytes),
                                           bytes.length, &error);
    answer_status(rpc, id, status, &error);
}

static void delete_file(struct px_rpc *rpc, const json_t *id, const json_t *params)
{
    pyexec_error error;
    answer_status(rpc, id,
                  pyexec_session_delete_file(rpc->executor, string_of(params, "session_id"),
                                             string_of(params, "path"), &error),
                  &error);
}

/* ---- The table ---- */

static const struct {
    const char *name;
    void (*serve)(struct px_rpc *rpc, const json_t *id, const json_t *params);
    bool before_initialize;
    const char *params;         /* what it takes, between spaces; "*": checked elsewhere */
} methods[] = {
    {"initialize", initialize, true, " protocol policy session host "},
    {"execute_once", px_rpc_execute, false, "*"},
    {"execute", px_rpc_execute_session, false, "*"},
    {"interrupt", interrupt, false, " session_id request "},
    {"cancel", cancel, false, " request "},
    {"close_session", close_session, false, " session_id "},
    {"close_all", close_all, false, " "},
    {"list_sessions", list_sessions, false, " "},
    {"list_files", list_files, false, " session_id "},
    {"read_file", read_file, false, " session_id path "},
    {"write_file", write_file, false, " session_id path content content_base64 "},
    {"delete_file", delete_file, false, " session_id path "},
    {"doctor", doctor, false, " "},
    {"stats", stats, false, " "},
    {"ping", ping, true, " "},
    {"shutdown", shut_down, true, " "},
};

/* The first key that the method does not take, or NULL. */
static const char *unknown_param(const char *allowed, json_t *params)
{
    const char *key;
    json_t *value;
    if (*allowed == '*')
        return NULL;
    json_object_foreach(params, key, value) {
        struct px_buffer px_auto_buffer wanted = {0};
        px_buffer_printf(&wanted, " %s ", key);
        if (strchr(key, ' ') || !strstr(allowed, px_buffer_string(&wanted)))
            return key;
    }
    return NULL;
}

static void dispatch(struct px_rpc *rpc, const char *method, const json_t *id, json_t *params)
{
    size_t i = 0;
    while (i < PX_COUNT(methods) && strcmp(methods[i].name, method) != 0)
        i++;
    if (i == PX_COUNT(methods)) {
        fail(rpc, id, METHOD_NOT_FOUND, "no such method");
        return;
    }
    const char *unknown = unknown_param(methods[i].params, params);
    if (unknown) {
        struct px_buffer px_auto_buffer text = {0};
        px_buffer_printf(&text, "%s takes no '%.100s'", method, unknown);
        fail(rpc, id, INVALID_PARAMS, px_buffer_string(&text));
        return;
    }
    pyexec_error error;
    if (!rpc->executor && !methods[i].before_initialize) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s: call initialize first", method);
        px_rpc_fail(rpc, id, &error);
        return;
    }
    methods[i].serve(rpc, id, params);
}

static void handle_line(struct px_rpc *rpc, const char *line, size_t length)
{
    json_error_t problem;
    json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!message) {
        fail(rpc, NULL, PARSE_ERROR, problem.text);
        return;
    }
    const json_t *id = json_object_get(message, "id");
    const char *version = json_string_value(json_object_get(message, "jsonrpc"));
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *params = json_object_get(message, "params");
    json_t *none = params ? NULL : json_object();
    bool good_id = !id || json_is_string(id) || json_is_number(id) || json_is_null(id);
    if (!json_is_object(message) || !version || strcmp(version, "2.0") != 0 || !method || !good_id)
        fail(rpc, good_id ? id : NULL, INVALID_REQUEST, "not a JSON-RPC 2.0 request");
    else if (params && !json_is_object(params))
        fail(rpc, id, INVALID_PARAMS, "params must be an object");
    else
        dispatch(rpc, method, id, params ? params : none);
    json_decref(none);
    json_decref(message);
}

/* ---- Reading ---- */

/* Takes whole lines out of the buffer. A line that is too long is dropped as it comes, with one
 * error. */
static void take_lines(struct px_rpc *rpc, struct px_buffer *input, bool *dropping)
{
    size_t done = 0;
    while (!rpc->stopping) {
        char *start = input->data + done;
        char *end = input->length > done ? memchr(start, '\n', input->length - done) : NULL;
        if (!end)
            break;
        size_t length = (size_t)(end - start);
        if (*dropping)
            *dropping = false;
        else if (length && !(length == 1 && *start == '\r'))
            handle_line(rpc, start, length);
        done += length + 1;
    }
    if (done)
        px_buffer_consume(input, done);
    if (input->length <= LINE_MAX_BYTES)
        return;
    if (!*dropping)
        fail(rpc, NULL, INVALID_REQUEST, "a line is longer than 32 MiB");
    *dropping = true;
    px_buffer_done(input);
}

int px_rpc_serve(int input, int output)
{
    struct px_rpc rpc = {.output = output};
    struct px_buffer px_auto_buffer buffer = {0};
    bool dropping = false;
    pthread_mutex_init(&rpc.output_lock, NULL);
    pthread_mutex_init(&rpc.lock, NULL);
    pthread_cond_init(&rpc.changed, NULL);
    while (!rpc.stopping && !rpc.output_gone) {
        char *room = px_buffer_reserve(&buffer, 65536);
        ssize_t n = room ? read(input, room, 65536) : -1;
        if (n < 0 && room && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buffer.length += (size_t)n;
        buffer.data[buffer.length] = '\0';
        take_lines(&rpc, &buffer, &dropping);
    }
    px_rpc_stop_all(&rpc);
    pyexec_executor_free(rpc.executor);
    pthread_mutex_destroy(&rpc.output_lock);
    pthread_mutex_destroy(&rpc.lock);
    pthread_cond_destroy(&rpc.changed);
    return rpc.output_gone ? 1 : 0;
}
