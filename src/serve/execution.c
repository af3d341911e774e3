/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/execution.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_find.h"
#include "serve/calls.h"
#include "serve/detached.h"
#include "serve/server.h"
#include "serve/sse.h"

/* ---- What a script calls ---- */

/* The calls that can wait at once have fewer bytes than this. If more bytes are unread, the script gives up calls and the
 * client does not read them. */
#define UNREAD_MAX (40 << 20)

static bool is_unread(const struct px_execution *execution)
{
    return execution->client && execution->client->kept_bytes >= UNREAD_MAX;
}

static void send_event(struct px_execution *execution, const char *name, const char *json)
{
    if (execution->detached)
        px_detached_emit(execution->detached, name, json, false);
    else
        px_sse_send(execution->client, name, json);
}

/* The call is in the table before the client is told about it, because its answer may come at once. */
static void take_call(struct px_execution *execution, pyexec_tool_call *handle, bool held)
{
    pyexec_error ignored;
    pthread_mutex_lock(&execution->emit);
    if (execution->ended || !pyexec_tool_call_waits(handle)) {
        pyexec_tool_call_free(handle);
    } else if (is_unread(execution)) {
        pyexec_tool_call_fail(handle, "the client does not read its events, and too many of them wait", NULL, &ignored);
        pyexec_tool_call_free(handle);
    } else {
        px_auto_buffer struct px_buffer event = {0};
        px_buffer_add_byte(&event, '{');
        px_call_write(&event, handle);
        px_buffer_add_byte(&event, '}');
        if (px_calls_add(execution->server->calls, execution, handle, held))
            send_event(execution, held ? "tool_approval" : "tool_call", px_buffer_string(&event));
    }
    pthread_mutex_unlock(&execution->emit);
}

/* pyexec_tool_fn */
static void on_call(void *execution, pyexec_tool_call *handle)
{
    take_call(execution, handle, false);
}

/* pyexec_tool_fn */
static void on_held(void *execution, pyexec_tool_call *handle)
{
    take_call(execution, handle, true);
}

static int check_events(const struct px_http_request *request, pyexec_error *error)
{
    if (px_sse_wanted(request))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "tools: calls of tools are sent as events, but this request does not accept events");
    return px_error_hint(error,
                         "Send \"Accept: text/event-stream\" or \"detach\": true, and answer each event tool_call with "
                         "POST /v1/calls/CALL_ID.");
}

/* ---- Life ---- */

bool px_execution_may_detach(const struct px_http_request *request)
{
    return px_json_find((struct px_json_span){request->body.data, request->body.length}, "detach").at;
}

static int take_detach(json_t *body, bool *ret, pyexec_error *error)
{
    const json_t *detach = json_object_get(body, "detach");
    *ret = json_is_true(detach);
    if (detach && !json_is_boolean(detach)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "detach: must be true or false");
        return px_error_hint(error, "With true, the execution continues without its client, and GET "
                                    "/v1/executions/ID has its result.");
    }
    json_object_del(body, "detach");
    return 0;
}

struct px_execution *px_execution_new(struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    struct px_execution *execution = calloc(1, sizeof *execution);
    if (!execution) {
        px_error_oom(error);
        return NULL;
    }
    execution->server = request->server;
    execution->principal = request->principal;
    execution->client = request;
    pthread_mutex_init(&execution->emit, NULL);
    /* on_call also gets the calls of a session's own tools. */
    pyexec_request_set_tool_callback(run, on_call, execution);
    if (pyexec_request_set_approver(run, on_held, execution, error) == 0)
        return execution;
    px_execution_free(execution);
    return NULL;
}

int px_execution_take(struct px_http_request *request, json_t *body, pyexec_request *run, struct px_execution **ret,
                      bool *ret_detach, pyexec_error *error)
{
    if (take_detach(body, ret_detach, error) < 0)
        return -1;
    px_auto_json json_t *tools = json_incref(json_object_get(body, "tools"));
    json_object_del(body, "tools");
    bool none = !tools || (json_is_array(tools) && !json_array_size(tools));
    bool inherits = request->session_key && px_sse_wanted(request); /* a session may have tools of its own */
    if (none && !*ret_detach && !inherits)
        return 0;
    if (!none && !*ret_detach && check_events(request, error) < 0)
        return -1;
    struct px_execution *execution = px_execution_new(request, run, error);
    if (!execution)
        return -1;
    *ret = execution;
    return none ? 0 : pyexec_request_add_tools_object(run, tools, on_call, execution, error);
}

void px_execution_end(struct px_execution *execution)
{
    if (!execution)
        return;
    pthread_mutex_lock(&execution->emit);
    execution->ended = true;
    pthread_mutex_unlock(&execution->emit);
    px_calls_drop(execution->server->calls, execution);
}

void px_execution_free(struct px_execution *execution)
{
    if (!execution)
        return;
    pthread_mutex_destroy(&execution->emit);
    free(execution);
}
