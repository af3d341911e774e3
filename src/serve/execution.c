/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/execution.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "serve/calls.h"
#include "serve/server.h"
#include "serve/sse.h"

/* ---- What a script calls ---- */

/* More than all calls that can wait at once: the client does not read, and its script gives calls up. */
#define UNREAD_MAX (40 << 20)

static bool is_unread(const struct px_execution *execution)
{
    return execution->client->kept_bytes >= UNREAD_MAX;
}

/* pyexec_tool_fn. It can be found before the client is told: its answer may come at once. */
static void on_call(void *closure, pyexec_tool_call *handle)
{
    pyexec_error ignored;
    struct px_execution *execution = closure;
    pthread_mutex_lock(&execution->emit);
    if (execution->ended || !pyexec_tool_call_waits(handle)) {
        pyexec_tool_call_free(handle);
    } else if (is_unread(execution)) {
        pyexec_tool_call_fail(handle, "the client does not read its events, of which too many wait", NULL, &ignored);
        pyexec_tool_call_free(handle);
    } else {
        px_auto_buffer struct px_buffer event = {0};
        px_buffer_add_byte(&event, '{');
        px_call_write(&event, handle);
        px_buffer_add_byte(&event, '}');
        if (px_calls_add(execution->server->calls, execution, handle))
            px_sse_send(execution->client, "tool_call", px_buffer_string(&event));
    }
    pthread_mutex_unlock(&execution->emit);
}

static int check_events(const struct px_http_request *request, pyexec_error *error)
{
    if (px_sse_wanted(request))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "tools: their calls are sent as events, which this client does not take");
    return px_error_hint(error, "Send \"Accept: text/event-stream\", and answer each event tool_call with "
                                "POST /v1/calls/CALL_ID.");
}

/* ---- Life ---- */

int px_execution_take(struct px_http_request *request, json_t *body, pyexec_request *run, struct px_execution **ret,
                      pyexec_error *error)
{
    px_auto_json json_t *tools = json_incref(json_object_get(body, "tools"));
    if (!tools)
        return 0;
    json_object_del(body, "tools");
    if (json_is_array(tools) && !json_array_size(tools))
        return 0;
    if (check_events(request, error) < 0)
        return -1;
    struct px_execution *execution = calloc(1, sizeof *execution);
    if (!execution)
        return px_error_oom(error);
    execution->server = request->server;
    execution->principal = request->principal;
    execution->client = request;
    pthread_mutex_init(&execution->emit, NULL);
    *ret = execution;
    return pyexec_request_add_tools_object(run, tools, on_call, execution, error);
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
