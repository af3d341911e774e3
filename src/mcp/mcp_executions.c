/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/mcp_executions.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_text.h"
#include "jsonrpc/json_diagnose.h"
#include "mcp/mcp_private.h"

#define POLL_MS 1000 /* how often a client should ask for the state of a task */

static const char unknown_hint[] =
    "It ended too long ago, it was lost when the server restarted, or it belongs to another caller.";

/* ---- What a call asks for ---- */

static const json_t *arguments_of(const struct px_mcp_call *call)
{
    return json_object_get(call->params, "arguments");
}

static bool is_method(const struct px_mcp_call *call, const char *method)
{
    return call->id && call->method && strcmp(call->method, method) == 0;
}

bool px_mcp_has_legacy_tasks(const struct px_mcp_call *call)
{
    return !call->modern && strcmp(call->version, "2025-11-25") >= 0;
}

/* A client of 2026-07-28 says in each request whether it supports tasks. */
static bool has_extension(const struct px_mcp_call *call)
{
    const json_t *meta = json_object_get(call->params, "_meta");
    const json_t *client = json_object_get(meta, PX_MCP_META "clientCapabilities");
    return call->modern && json_is_object(json_object_get(json_object_get(client, "extensions"), PX_MCP_TASKS));
}

bool px_mcp_asks_for_task(const struct px_mcp_call *call)
{
    return px_mcp_has_legacy_tasks(call) && is_method(call, "tools/call") && json_object_get(call->params, "task");
}

bool px_mcp_detaches(const struct px_mcp_call *call)
{
    return call->slow && (json_is_true(json_object_get(arguments_of(call), "detach")) || px_mcp_asks_for_task(call));
}

const char *px_mcp_awaits(const struct px_mcp_call *call, int64_t *ret_ms)
{
    if (is_method(call, "tasks/result") && px_mcp_has_legacy_tasks(call)) {
        *ret_ms = -1;
        return json_string_value(json_object_get(call->params, "taskId"));
    }
    if (!is_method(call, "tools/call") || !call->tool || strcmp(call->tool->name, "get_execution") != 0)
        return NULL;
    *ret_ms = json_integer_value(json_object_get(arguments_of(call), "wait_ms"));
    bool waits = *ret_ms > 0 && *ret_ms <= PX_EXECUTION_WAIT_MAX_MS;
    return waits ? json_string_value(json_object_get(arguments_of(call), "execution_id")) : NULL;
}

/* ---- Texts ---- */

char *px_mcp_content_text(const pyexec_result *result, const pyexec_error *error)
{
    return px_json_take_text(result ? px_mcp_content(result) : px_mcp_error_content(error));
}

static bool write_time(char text[32], time_t time)
{
    struct tm parts;
    return time && gmtime_r(&time, &parts) && strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void px_mcp_execution_write(struct px_buffer *out, const char *id, const char *session, const char *state,
                            const time_t times[3])
{
    static const char *const keys[] = {"created_at", "started_at", "ended_at"};
    char text[32];
    px_buffer_printf(out, "{\"execution_id\":\"%s\",\"session_id\":", id);
    px_json_text_string(out, session, session ? strlen(session) : 0);
    px_buffer_printf(out, ",\"state\":\"%s\"", state);
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        if (write_time(text, times[i]))
            px_buffer_printf(out, ",\"%s\":\"%s\"", keys[i], text);
        else
            px_buffer_printf(out, ",\"%s\":null", keys[i]);
}

/* Appends `"content":…` of an execution that has ended. If `structured` is not NULL, also appends it as `"structuredContent":…`. */
static void add_members(struct px_buffer *out, const struct px_mcp_execution *execution, const char *structured)
{
    const char *text = execution->result ? execution->result : execution->whole;
    px_auto_free char *made = execution->content || !text ? NULL : px_json_take_text(px_mcp_text(text, strlen(text)));
    const char *json = execution->content ? execution->content : made;
    px_buffer_printf(out, "\"content\":%s", execution->content ? "" : "[");
    px_buffer_add_string(out, json ? json : "");
    px_buffer_add_string(out, execution->content ? "" : "]");
    if (structured) {
        px_buffer_add_string(out, ",\"structuredContent\":");
        px_buffer_add_string(out, structured);
    }
    out->failed |= !json;
}

/* Answers with `result` and these members. Takes ownership of `result`. */
static void answer_members(struct px_mcp_call *call, json_t *result, const struct px_buffer *members)
{
    bool good = result && px_buffer_ok(members);
    px_mcp_answer_with(call, good ? json_incref(result) : NULL, good ? px_buffer_string(members) : NULL);
    json_decref(result);
}

/* ---- Tasks ---- */

/* If the script failed, the state of the task is `failed` in revision 2025-11-25, and `completed` in 2026-07-28. */
static const char *status_of(const struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    if (execution->cancelled)
        return "cancelled";
    if (!execution->ended)
        return "working";
    return execution->failed && !call->modern ? "failed" : "completed";
}

static json_t *describe(const struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    char created[32] = "", changed[32] = "";
    const time_t *times = execution->times;
    write_time(created, times[0]);
    write_time(changed, times[2] ? times[2] : times[1] ? times[1] : times[0]);
    /* The TTL of a task is counted from its start. While it runs it has no limit. */
    json_int_t ttl = (json_int_t)(times[2] - times[0]) * 1000 + call->caller.executions->ttl_ms;
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:i}", "taskId", execution->id, "status", status_of(call, execution),
                     "createdAt", created, "lastUpdatedAt", changed, call->modern ? "ttlMs" : "ttl",
                     execution->ended ? json_integer(ttl) : json_null(),
                     call->modern ? "pollIntervalMs" : "pollInterval", POLL_MS);
}

/* Answers a call that has started a task. */
static void show_new_task(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    json_t *task = describe(call, execution);
    if (call->modern && task)
        px_json_set(task, "resultType", json_string("task"));
    px_mcp_answer(call, call->modern || !task ? task : json_pack("{s:o}", "task", task));
}

/* Answers tasks/get. In the modern revision the answer has the result too. */
static void show_task(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_auto_buffer struct px_buffer members = {0};
    if (!call->modern || !execution->ended || execution->cancelled) {
        px_mcp_answer(call, describe(call, execution));
        return;
    }
    px_buffer_printf(&members, "\"result\":{\"isError\":%s,", execution->failed ? "true" : "false");
    add_members(&members, execution, execution->result);
    px_buffer_add_byte(&members, '}');
    answer_members(call, describe(call, execution), &members);
}

/* Answers tasks/result in the same way as the tool without a task. */
static void show_result(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    if (!execution->ended) {
        px_mcp_refuse(call, PX_RPC_INTERNAL_ERROR, "The server is shutting down before the task has ended.");
        return;
    }
    px_auto_buffer struct px_buffer members = {0};
    add_members(&members, execution, execution->result);
    answer_members(call,
                   json_pack("{s:b, s:{s:{s:s}}}", "isError", execution->failed, "_meta", PX_MCP_META "related-task",
                             "taskId", execution->id),
                   &members);
}

/* Returns the id in the parameters. NULL: the call is refused. */
static const char *take_task_id(struct px_mcp_call *call)
{
    const char *id = json_string_value(json_object_get(call->params, "taskId"));
    if (!call->modern && !px_mcp_has_legacy_tasks(call))
        px_mcp_refuse(call, PX_RPC_METHOD_NOT_FOUND, "Method not found: %.100s", call->method);
    else if (call->modern && !has_extension(call))
        px_mcp_refuse_without(call, PX_MCP_TASKS);
    else if (!id)
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "%s: taskId must be a string", call->method);
    else
        return id;
    return NULL;
}

/* `id` is NULL if the call was already refused. */
static void answer_task(struct px_mcp_call *call, const char *id, px_mcp_show_fn *show)
{
    if (id && !call->caller.executions->show(call, id, show))
        px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "There is no task '%.100s'. %s", id, unknown_hint);
}

void px_mcp_get_task(struct px_mcp_call *call)
{
    answer_task(call, take_task_id(call), show_task);
}

void px_mcp_get_task_result(struct px_mcp_call *call)
{
    answer_task(call, take_task_id(call), show_result);
}

static void acknowledge(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    (void)execution;
    px_mcp_answer(call, json_object());
}

/* A task sends no requests to its client, so responses of the client are ignored. */
void px_mcp_update_task(struct px_mcp_call *call)
{
    answer_task(call, take_task_id(call), acknowledge);
}

static void refuse_cancel(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_mcp_refuse(call, PX_RPC_INVALID_PARAMS, "The task can't be cancelled any more: it is %s.",
                  status_of(call, execution));
}

static void show_cancelled_task(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_mcp_answer(call, describe(call, execution));
}

void px_mcp_cancel_task(struct px_mcp_call *call)
{
    const char *id = take_task_id(call);
    bool done = id && call->caller.executions->cancel(call, id);
    answer_task(call, id, call->modern ? acknowledge : done ? show_cancelled_task : refuse_cancel);
}

/* ---- Tools ---- */

static void refuse_unknown(struct px_mcp_call *call)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_printf(&text, "execution_not_found: there is no such execution\n%s", unknown_hint);
    json_t *content = px_mcp_text(px_buffer_string(&text), text.length);
    px_mcp_answer_tool(call, content ? json_pack("[o]", content) : NULL, NULL, true);
}

static void show_new(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_auto_buffer struct px_buffer note = {0};
    px_buffer_printf(&note, "It runs as execution %s. get_execution returns its result.", execution->id);
    px_mcp_answer_object(call,
                         json_pack("{s:s, s:s?}", "execution_id", execution->id, "session_id", execution->session),
                         px_buffer_string(&note));
}

static void show_state(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_auto_buffer struct px_buffer text = {0};
    if (!execution->whole) {
        px_mcp_answer(call, NULL);
    } else if (execution->ended) {
        add_members(&text, execution, execution->whole);
        answer_members(call, json_pack("{s:b}", "isError", 0), &text);
    } else {
        px_buffer_printf(&text, "It has not ended (%s). Ask again, with wait_ms to wait for its end.",
                         execution->state);
        json_t *block = px_mcp_text(px_buffer_string(&text), text.length);
        px_mcp_answer_tool(call, block ? json_pack("[o]", block) : NULL, execution->whole, false);
    }
}

static void show_cancelled(struct px_mcp_call *call, const struct px_mcp_execution *execution)
{
    px_mcp_answer_object(call, json_pack("{s:s, s:s}", "execution_id", execution->id, "state", execution->state),
                         execution->ended ? "It has ended."
                                          : "It was cancelled, and ends soon. get_execution says how it ended.");
}

void px_mcp_detach(struct px_mcp_call *call, const char *key)
{
    pyexec_error error;
    char id[PX_MCP_EXECUTION_ID];
    const struct px_mcp_executions *executions = call->caller.executions;
    bool task = px_mcp_asks_for_task(call) || has_extension(call);
    px_mcp_end(call); /* from now on the client can't cancel the request; it can cancel the execution */
    if (executions->start(call, key, id, &error) < 0)
        px_mcp_fail(call, &error);
    else if (!executions->show(call, id, task ? show_new_task : show_new))
        refuse_unknown(call);
}

void px_mcp_get_execution(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    const json_t *wait = json_object_get(arguments, "wait_ms");
    const char *id = json_string_value(json_object_get(arguments, "execution_id"));
    if (wait && (json_integer_value(wait) < 0 || json_integer_value(wait) > PX_EXECUTION_WAIT_MAX_MS)) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "wait_ms: not a number from 0 to %d", PX_EXECUTION_WAIT_MAX_MS);
        px_error_hint(&error, "If the answer says that it still runs, ask again.");
        px_mcp_fail(call, &error);
    } else if (!call->caller.executions->show(call, id, show_state)) {
        refuse_unknown(call);
    }
}

void px_mcp_cancel_execution(struct px_mcp_call *call, json_t *arguments)
{
    const char *id = json_string_value(json_object_get(arguments, "execution_id"));
    call->caller.executions->cancel(call, id);
    if (!call->caller.executions->show(call, id, show_cancelled))
        refuse_unknown(call);
}
