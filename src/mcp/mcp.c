/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/mcp.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "jsonrpc/json_diagnose.h"
#include "mcp/mcp_private.h"

#define PROGRESS_NS INT64_C(1000000000)
#define FRESH_MS 3600000  /* how long a client may cache a list that never changes */
#define CHANGING_MS 30000 /* the same for a list with tools of other servers */

struct px_mcp {
    pyexec_executor *executor;
    pthread_t thread;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t changed;
    struct px_mcp_call *running;
    bool ending;
};

static const char *const legacy[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};

bool px_mcp_is_legacy(const char *version)
{
    for (size_t i = 0; i < PX_COUNT(legacy); i++)
        if (strcmp(legacy[i], version) == 0)
            return true;
    return false;
}

/* ---- Answers ---- */

/* Makes the answer from the text `json`. If it is NULL, there was no memory for it: the answer stays empty, and the
 * transport answers that there is no memory. */
static void set_answer(struct px_mcp_call *call, const char *member, const char *json)
{
    px_buffer_done(&call->answer);
    px_buffer_printf(&call->answer, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", call->id ? call->id : "null", member);
    px_buffer_add_string(&call->answer, json ? json : "");
    px_buffer_add_byte(&call->answer, '}');
    if (json && px_buffer_ok(&call->answer))
        return;
    px_buffer_done(&call->answer);
    call->code = PX_RPC_INTERNAL_ERROR;
    call->answer.failed = true;
}

/* Takes ownership of `error`. */
static void set_error(struct px_mcp_call *call, int code, json_t *error)
{
    px_auto_free char *text = px_json_take_text(error);
    call->code = code;
    set_answer(call, "error", text);
}

void px_mcp_refuse(struct px_mcp_call *call, int code, const char *format, ...)
{
    px_auto_buffer struct px_buffer message = {0};
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    px_utf8_repair(&message, text, strlen(text));
    set_error(call, code, json_pack("{s:i, s:s}", "code", code, "message", px_buffer_string(&message)));
}

static json_t *versions(void)
{
    json_t *list = json_pack("[s]", PX_MCP_MODERN);
    for (size_t i = 0; i < PX_COUNT(legacy); i++)
        px_json_append(list, json_string(legacy[i]));
    return list;
}

void px_mcp_refuse_version(struct px_mcp_call *call, const char *version)
{
    px_auto_buffer struct px_buffer asked = {0};
    px_utf8_repair(&asked, version, px_utf8_truncate(version, strlen(version), 64));
    set_error(call, PX_MCP_UNSUPPORTED_VERSION,
              json_pack("{s:i, s:s, s:{s:o, s:s}}", "code", PX_MCP_UNSUPPORTED_VERSION, "message",
                        "Unsupported protocol version", "data", "supported", versions(), "requested",
                        px_buffer_string(&asked)));
}

void px_mcp_refuse_without(struct px_mcp_call *call, const char *extension)
{
    set_error(call, PX_MCP_MISSING_CAPABILITY,
              json_pack("{s:i, s:s, s:{s:{s:{s:{}}}}}", "code", PX_MCP_MISSING_CAPABILITY, "message",
                        "Missing required client capability", "data", "requiredCapabilities", "extensions", extension));
}

static json_t *server_info(void)
{
    return json_pack("{s:s, s:s, s:s}", "name", "pyexec", "title", "pyexec: sandboxed Python", "version",
                     pyexec_version());
}

/* Adds the members that every result of the modern protocol has. */
static int stamp(const struct px_mcp_call *call, json_t *result)
{
    if (!call->modern)
        return 0;
    bool typed = json_object_get(result, "resultType");
    return (typed ? 0 : json_object_set_new(result, "resultType", json_string("complete"))) |
           json_object_set_new(result, "_meta", json_pack("{s:o}", PX_MCP_META "serverInfo", server_info()));
}

void px_mcp_answer(struct px_mcp_call *call, json_t *result)
{
    if (result && stamp(call, result) < 0) {
        json_decref(result);
        result = NULL;
    }
    px_auto_free char *text = px_json_take_text(result);
    set_answer(call, "result", text);
}

void px_mcp_answer_with(struct px_mcp_call *call, json_t *given, const char *members)
{
    px_auto_json json_t *result = given;
    px_auto_free char *text = result && stamp(call, result) == 0 ? px_json_dumps(result, JSON_COMPACT) : NULL;
    px_auto_buffer struct px_buffer whole = {0};
    if (text && members) {
        px_buffer_add(&whole, text, strlen(text) - 1);
        px_buffer_add_byte(&whole, ',');
        px_buffer_add_string(&whole, members);
        px_buffer_add_byte(&whole, '}');
    }
    set_answer(call, "result", !px_buffer_ok(&whole) ? NULL : whole.length ? whole.data : text);
}

void px_mcp_answer_tool(struct px_mcp_call *call, json_t *content, const char *structured, bool failed)
{
    px_auto_buffer struct px_buffer members = {0};
    json_t *result = json_pack("{s:o, s:b}", "content", content, "isError", failed);
    if (structured) {
        px_buffer_add_string(&members, "\"structuredContent\":");
        px_buffer_add_string(&members, structured);
    }
    if (!px_buffer_ok(&members)) {
        json_decref(result);
        result = NULL;
    }
    px_mcp_answer_with(call, result, structured ? px_buffer_string(&members) : NULL);
}

json_t *px_mcp_error_content(const pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_printf(&text, "%s: %s", pyexec_code_name(error->code), error->message);
    if (*error->hint)
        px_buffer_printf(&text, "\n%s", error->hint);
    json_t *content = px_mcp_text(px_buffer_string(&text), text.length);
    return content ? json_pack("[o]", content) : NULL;
}

void px_mcp_fail(struct px_mcp_call *call, const pyexec_error *error)
{
    if (px_mcp_asks_for_task(call)) /* the client expects a task, not a tool's answer */
        px_mcp_refuse(call, error->code == PYEXEC_INVALID_REQUEST ? PX_RPC_INVALID_PARAMS : PX_RPC_INTERNAL_ERROR,
                      "%s: %s. %s", pyexec_code_name(error->code), error->message, error->hint);
    else
        px_mcp_answer_tool(call, px_mcp_error_content(error), NULL, true);
}

/* ---- Runs in progress ---- */

static void tell(const struct px_mcp_call *call, int64_t now)
{
    int64_t ms = (now - call->began_ns) / 1000000;
    px_auto_free char *text = px_json_take_text(json_pack(
        "{s:s, s:s, s:{s:O, s:I, s:s}}", "jsonrpc", "2.0", "method", "notifications/progress", "params",
        "progressToken", call->progress_token, "progress", (json_int_t)ms, "message", ms ? "running" : "started"));
    if (text)
        call->caller.notify(call->caller.closure, text);
}

/* Sends progress for the calls that are due, and returns when the next one is due, or -1. Works under the lock,
 * so that no progress is sent for a call that has been answered. */
static int64_t tell_due(struct px_mcp *mcp)
{
    int64_t now = px_now_ns(), next = -1;
    for (struct px_mcp_call *call = mcp->running; call; call = call->next) {
        if (!call->told_ns || call->withdrawn)
            continue;
        if (now - call->told_ns >= PROGRESS_NS) {
            tell(call, now);
            call->told_ns = now;
        }
        if (next < 0 || call->told_ns + PROGRESS_NS < next)
            next = call->told_ns + PROGRESS_NS;
    }
    return next;
}

static void *tell_all(void *argument)
{
    struct px_mcp *mcp = argument;
    pthread_mutex_lock(&mcp->lock);
    while (!mcp->ending) {
        int64_t next = tell_due(mcp);
        if (next < 0)
            pthread_cond_wait(&mcp->changed, &mcp->lock);
        else
            px_cond_wait_until(&mcp->changed, &mcp->lock, next);
    }
    pthread_mutex_unlock(&mcp->lock);
    return NULL;
}

/* Puts the call into the list of runs. From now on the client can cancel it. */
static void list(struct px_mcp_call *call)
{
    struct px_mcp *mcp = call->mcp;
    pthread_mutex_lock(&mcp->lock);
    call->listed = true;
    call->next = mcp->running;
    mcp->running = call;
    pthread_mutex_unlock(&mcp->lock);
}

void px_mcp_begin(struct px_mcp_call *call)
{
    int64_t now = px_now_ns();
    if (!call->progress_token)
        return;
    call->began_ns = now;
    tell(call, now);
    pthread_mutex_lock(&call->mcp->lock);
    call->told_ns = now;
    pthread_cond_signal(&call->mcp->changed);
    pthread_mutex_unlock(&call->mcp->lock);
}

void px_mcp_end(struct px_mcp_call *call)
{
    pthread_mutex_lock(&call->mcp->lock);
    struct px_mcp_call **at = &call->mcp->running;
    while (call->listed && *at != call)
        at = &(*at)->next;
    if (call->listed)
        *at = call->next;
    call->listed = false;
    pthread_mutex_unlock(&call->mcp->lock);
}

void px_mcp_cancel(struct px_mcp_call *call)
{
    if (call->request)
        pyexec_request_cancel(call->request);
}

/* notifications/cancelled: cancels a run of the same scope. An unknown id is ignored. */
static void withdraw(struct px_mcp_call *notification)
{
    const json_t *target = json_object_get(notification->params, "requestId");
    px_auto_free char *id = target ? px_json_dumps(target, PX_RPC_ID_FLAGS) : NULL;
    struct px_mcp *mcp = notification->mcp;
    if (!id || !notification->caller.scope)
        return;
    pthread_mutex_lock(&mcp->lock);
    for (struct px_mcp_call *call = mcp->running; call; call = call->next)
        if (call->caller.scope && strcmp(call->caller.scope, notification->caller.scope) == 0 && call->id &&
            strcmp(call->id, id) == 0) {
            call->withdrawn = true;
            px_mcp_cancel(call);
        }
    pthread_mutex_unlock(&mcp->lock);
}

static void release(struct px_mcp *mcp)
{
    pthread_mutex_destroy(&mcp->lock);
    pthread_cond_destroy(&mcp->changed);
    free(mcp);
}

int px_mcp_new(pyexec_executor *executor, struct px_mcp **ret, pyexec_error *error)
{
    struct px_mcp *mcp = calloc(1, sizeof *mcp);
    if (!mcp)
        return px_error_oom(error);
    mcp->executor = executor;
    pthread_mutex_init(&mcp->lock, NULL);
    px_cond_init(&mcp->changed);
    int failed = pthread_create(&mcp->thread, NULL, tell_all, mcp);
    if (failed) {
        release(mcp);
        return px_error_exhausted(error, failed, "can't start a thread for progress");
    }
    *ret = mcp;
    return 0;
}

void px_mcp_free(struct px_mcp *mcp)
{
    if (!mcp)
        return;
    pthread_mutex_lock(&mcp->lock);
    mcp->ending = true;
    pthread_cond_signal(&mcp->changed);
    pthread_mutex_unlock(&mcp->lock);
    pthread_join(mcp->thread, NULL);
    release(mcp);
}

pyexec_executor *px_mcp_executor(const struct px_mcp_call *call)
{
    return call->mcp->executor;
}

/* ---- Methods ---- */

static json_t *capabilities(const struct px_mcp_call *call)
{
    bool changes = call->caller.clients && call->caller.told_of_changes;
    json_t *able = json_pack("{s:o}", "tools", changes ? json_pack("{s:b}", "listChanged", 1) : json_object());
    if (able && px_mcp_offers_environments(call))
        px_json_set(able, "resources", json_object());
    if (able && call->modern)
        px_json_set(able, "extensions", json_pack("{s:{}}", PX_MCP_TASKS));
    else if (able && px_mcp_has_legacy_tasks(call))
        px_json_set(able, "tasks", json_pack("{s:{}, s:{s:{s:{}}}}", "cancel", "requests", "tools", "call"));
    return able;
}

static void initialize(struct px_mcp_call *call)
{
    const char *asked = json_string_value(json_object_get(call->params, "protocolVersion"));
    if (!asked) {
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "initialize: protocolVersion must be a string");
        return;
    }
    call->version = legacy[0];
    for (size_t i = 0; i < PX_COUNT(legacy); i++)
        if (strcmp(legacy[i], asked) == 0)
            call->version = legacy[i];
    px_mcp_answer(call,
                  json_pack("{s:s, s:o, s:o, s:s}", "protocolVersion", call->version, "capabilities",
                            capabilities(call), "serverInfo", server_info(), "instructions", px_mcp_instructions));
}

static void discover(struct px_mcp_call *call)
{
    px_mcp_answer(call, json_pack("{s:o, s:o, s:s, s:i, s:s}", "supportedVersions", versions(), "capabilities",
                                  capabilities(call), "instructions", px_mcp_instructions, "ttlMs", FRESH_MS,
                                  "cacheScope", "private"));
}

static void ping(struct px_mcp_call *call)
{
    px_mcp_answer(call, json_object());
}

void px_mcp_answer_fresh(struct px_mcp_call *call, json_t *result)
{
    if (result && call->modern)
        px_json_merge(result, json_pack("{s:i, s:s}", "ttlMs", FRESH_MS, "cacheScope", "private"));
    px_mcp_answer(call, result);
}

static void list_tools(struct px_mcp_call *call)
{
    json_t *cursor = json_object_get(call->params, "cursor");
    if (cursor && !json_is_null(cursor)) {
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "tools/list: there is one page, without a cursor");
        return;
    }
    json_t *tools = px_mcp_tool_list(call);
    json_t *result = tools ? json_pack("{s:o}", "tools", tools) : NULL;
    if (result && call->modern)
        px_json_merge(result, json_pack("{s:i, s:s}", "ttlMs", call->caller.clients ? CHANGING_MS : FRESH_MS,
                                        "cacheScope", "private"));
    px_mcp_answer(call, result);
}

static void call_tool(struct px_mcp_call *call)
{
    static const char in_band_since[] = "2025-11-25";
    const char *name = json_string_value(json_object_get(call->params, "name"));
    json_t *given = json_object_get(call->params, "arguments");
    pyexec_error error;
    if (!call->tool) {
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, name ? "Unknown tool: %.100s" : "tools/call: name must be a string",
                      name);
        return;
    }
    if (given && !json_is_object(given)) {
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "tools/call: arguments must be an object");
        return;
    }
    if (px_mcp_asks_for_task(call) && !call->slow) {
        px_mcp_refuse(call, PX_RPC_METHOD_NOT_FOUND, "%s can't be called as a task", name);
        return;
    }
    if (px_mcp_asks_for_task(call) && !json_is_object(json_object_get(call->params, "task"))) {
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "tools/call: task must be an object");
        return;
    }
    px_auto_json json_t *arguments = given ? px_json_copy(given) : json_object();
    if (px_mcp_check_arguments(call->tool, arguments, &error) == 0)
        call->tool->serve(call, arguments);
    else if (call->modern || strcmp(call->version, in_band_since) >= 0)
        px_mcp_fail(call, &error);
    else
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "%s %s", error.message, error.hint);
}

enum era { BOTH, LEGACY, MODERN };

static const struct {
    const char *name;
    enum era era;
    void (*serve)(struct px_mcp_call *call);
} methods[] = {
    {"initialize", LEGACY, initialize},
    {"ping", LEGACY, ping},
    {"server/discover", MODERN, discover},
    {"tools/list", BOTH, list_tools},
    {"tools/call", BOTH, call_tool},
    {"resources/list", BOTH, px_mcp_list_resources},
    {"resources/templates/list", BOTH, px_mcp_list_resource_templates},
    {"resources/read", BOTH, px_mcp_read_resource},
    {"tasks/get", BOTH, px_mcp_get_task},
    {"tasks/result", LEGACY, px_mcp_get_task_result},
    {"tasks/update", MODERN, px_mcp_update_task},
    {"tasks/cancel", BOTH, px_mcp_cancel_task},
};

/* Reads the version and the capabilities, which a modern request must state. */
bool px_mcp_check(struct px_mcp_call *call)
{
    if (!call->modern)
        return true;
    const json_t *meta = json_object_get(call->params, "_meta");
    const json_t *version = json_object_get(meta, PX_MCP_META "protocolVersion");
    const json_t *client = json_object_get(meta, PX_MCP_META "clientCapabilities");
    if (!json_is_string(version) || !json_is_object(client))
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "params._meta needs '%s' (a string) and '%s' (an object)",
                      PX_MCP_META "protocolVersion", PX_MCP_META "clientCapabilities");
    else if (strcmp(json_string_value(version), PX_MCP_MODERN) != 0)
        px_mcp_refuse_version(call, json_string_value(version));
    else
        return true;
    return false;
}

void px_mcp_serve(struct px_mcp_call *call)
{
    if (!call->id) {
        if (strcmp(call->method, "notifications/cancelled") == 0)
            withdraw(call);
        return;
    }
    if (!px_mcp_check(call))
        return;
    for (size_t i = 0; i < PX_COUNT(methods); i++)
        if (strcmp(methods[i].name, call->method) == 0 && methods[i].era != (call->modern ? LEGACY : MODERN)) {
            methods[i].serve(call);
            return;
        }
    px_mcp_refuse(call, PX_RPC_METHOD_NOT_FOUND, "Method not found: %.100s", call->method);
}

/* ---- Messages ---- */

/* Answers a message that is not JSON, or JSON that jansson refuses. */
static void refuse_bytes(struct px_mcp_call *call, const char *bytes, size_t length, const json_error_t *problem)
{
    px_auto_buffer struct px_buffer id = {0};
    pyexec_error error;
    int code = px_json_diagnose_message(bytes, length, problem, &id, &error);
    if (code) {
        px_mcp_refuse(call, code, "%s", problem->text);
        return;
    }
    call->id = px_buffer_take(&id);
    px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "%s. %s", error.message, error.hint);
}

/* Reads the version of the protocol, the tool and the progress token of a request. */
static void look_into(struct px_mcp_call *call)
{
    const json_t *meta = json_object_get(call->params, "_meta");
    json_t *token = json_object_get(meta, "progressToken");
    const char *name = json_string_value(json_object_get(call->params, "name"));
    bool begins = strcmp(call->method, "initialize") == 0;
    call->modern = !begins && (json_object_get(meta, PX_MCP_META "protocolVersion") ||
                               strcmp(call->method, "server/discover") == 0);
    call->lists = call->id && strcmp(call->method, "tools/list") == 0;
    call->waits = call->lists && call->caller.clients;
    if (!call->id || strcmp(call->method, "tools/call") != 0)
        return;
    call->tool = name ? px_mcp_tool_find(name) : NULL;
    call->waits = call->forks = call->tool && call->tool->forks;
    call->slow = call->tool && call->tool->slow;
    if (!call->slow)
        return;
    call->in_session = json_is_string(json_object_get(json_object_get(call->params, "arguments"), "session_id"));
    if (json_is_string(token) || json_is_integer(token))
        call->progress_token = token;
    call->request = pyexec_request_new();
    list(call);
}

/* Returns false when there is no memory. */
static bool take_message(struct px_mcp_call *call)
{
    const json_t *id = json_object_get(call->message, "id");
    const json_t *params = json_object_get(call->message, "params");
    const char *version = json_string_value(json_object_get(call->message, "jsonrpc"));
    const char *method = json_string_value(json_object_get(call->message, "method"));
    bool good_id = !id || json_is_string(id) || json_is_integer(id);
    call->id = id && good_id ? px_json_dumps(id, PX_RPC_ID_FLAGS) : NULL;
    call->params = params;
    call->method = method;
    if (id && good_id && !call->id)
        return false;
    if (json_is_array(call->message))
        px_mcp_refuse(call, PX_RPC_INVALID_REQUEST, "batches are not served: send one message after another");
    else if (!version || strcmp(version, "2.0") != 0 || !method || !good_id || (id && !good_id))
        px_mcp_refuse(call, PX_RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request or notification");
    else if (params && !json_is_object(params))
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "params must be an object");
    else
        look_into(call);
    return true;
}

struct px_mcp_call *px_mcp_read(struct px_mcp *mcp, const struct px_mcp_caller *caller, const char *bytes,
                                size_t length)
{
    json_error_t problem;
    struct px_mcp_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->mcp = mcp;
    call->caller = *caller;
    call->version = caller->version;
    call->message = px_json_read(bytes, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (call->message ? !take_message(call) : px_json_no_memory(&problem)) {
        px_mcp_call_free(call);
        return NULL;
    }
    if (!call->message)
        refuse_bytes(call, bytes, length, &problem);
    return call;
}

struct px_mcp_call *px_mcp_take_run(struct px_mcp_call *call)
{
    struct px_mcp_call *run = calloc(1, sizeof *run);
    if (run)
        *run = (struct px_mcp_call){
            .mcp = call->mcp, .caller = call->caller, .modern = call->modern, .request = call->request};
    else
        pyexec_request_free(call->request);
    call->request = NULL;
    return run;
}

void px_mcp_call_free(struct px_mcp_call *call)
{
    if (!call)
        return;
    if (call->slow)
        px_mcp_end(call);
    json_decref(call->message);
    free(call->id);
    pyexec_request_free(call->request);
    px_client_tools_drop(call->tools);
    px_buffer_done(&call->answer);
    free(call);
}
