/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of MCP clients that continue after their answer: detached executions, like those over HTTP. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "mcp/mcp.h"
#include "serve/detached_private.h"
#include "serve/mcp_http.h"

static struct px_detached *find(const struct px_mcp_call *call, const char *id)
{
    struct px_http_request *request = call->caller.closure;
    return px_detached_find(request->server->detached, request->principal, id);
}

int px_mcp_http_start(struct px_mcp_call *call, const char *key, char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error)
{
    struct px_http_request *request = call->caller.closure;
    pyexec_request *run = TAKE_PTR(call->request);
    request->session_key = key ? strdup(key) : NULL;
    request->session = key ? strdup(key + strlen(call->caller.prefix)) : NULL;
    struct px_execution *execution = NULL;
    if (key && (!request->session_key || !request->session))
        px_error_oom(error);
    else
        execution = px_execution_new(request, run, error);
    if (execution)
        return px_detached_begin(request, execution, run, true, ret_id, error);
    pyexec_request_free(run);
    return -1;
}

bool px_mcp_http_show(struct px_mcp_call *call, const char *id, px_mcp_show_fn *show)
{
    px_auto_buffer struct px_buffer whole = {0};
    struct px_detached *detached = find(call, id);
    if (!detached)
        return false;
    pthread_mutex_lock(&detached->table->lock);
    bool ended = detached->state == PX_DETACHED_ENDED;
    struct px_mcp_execution execution = {.id = detached->id,
                                         .session = detached->carrier.session,
                                         .state = px_detached_state_names[detached->state],
                                         .ended = ended,
                                         .cancelled = detached->cancelled,
                                         .failed = detached->failed,
                                         .times = {detached->created, detached->started, detached->ended}};
    pthread_mutex_unlock(&detached->table->lock);
    px_detached_write(detached, &whole, true);
    execution.whole = px_buffer_ok(&whole) ? px_buffer_string(&whole) : NULL;
    execution.content = ended ? detached->content : NULL;
    execution.result = ended ? detached->result : NULL;
    show(call, &execution);
    px_detached_release(detached);
    return true;
}

bool px_mcp_http_cancel(struct px_mcp_call *call, const char *id)
{
    struct px_detached *detached = find(call, id);
    bool done = detached && px_detached_cancel(detached);
    if (detached)
        px_detached_release(detached);
    return done;
}

bool px_mcp_http_await(struct px_http_request *request, const struct px_mcp_call *call,
                       void (*answer)(struct px_http_request *request))
{
    int64_t wait_ms;
    const char *id = px_mcp_awaits(call, &wait_ms);
    struct px_detached *detached = id ? find(call, id) : NULL;
    if (detached)
        px_detached_await(detached, request, wait_ms, answer);
    return detached;
}
