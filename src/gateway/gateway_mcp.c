/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: messages of the Model Context Protocol. A node answers them; what is found here is only where they go, and errors in the form
 * that their clients read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/spelling.h"
#include "gateway/gateway.h"
#include "nats_link/mcp_route.h"

#define MCP_INTERNAL_ERROR (-32603)

static void call_session(struct px_gateway *gateway, struct px_fleet_call *call, const char *id,
                         struct px_fleet_answer *ret)
{
    if (!px_word_is_session_id(id, strlen(id), PX_SESSION_ID_MAX)) {
        px_gateway_problem(ret, 400, "invalid_request", "Send 1 to 128 of A-Z a-z 0-9 . _ : -",
                           "session_id: not valid");
        return;
    }
    call->session = id;
    px_gateway_session(gateway, call, ret);
    call->session = NULL;
}

/* False: nobody listens at the node, so the execution is lost. */
static bool call_execution(struct px_gateway *gateway, struct px_fleet_call *call, const char *id,
                           struct px_fleet_answer *ret)
{
    char node[PX_NODE_NAME_MAX + 1];
    if (!px_gateway_node_of_execution(id, node))
        return false;
    enum px_exchange_end end = px_gateway_ask_node(gateway, call, node, ret);
    if (end != PX_EXCHANGE_ANSWERED && end != PX_EXCHANGE_NOBODY)
        px_gateway_failed(gateway, end, NULL, ret);
    return end != PX_EXCHANGE_NOBODY;
}

static void ask(struct px_gateway *gateway, struct px_fleet_call *call, const struct px_mcp_route *route,
                struct px_fleet_answer *ret)
{
    if (route->session) {
        call_session(gateway, call, route->session, ret);
    } else if (route->method && strcmp(route->method, "notifications/cancelled") == 0) {
        call->named = "the cancelled request"; /* any node may run it */
        px_gateway_tell_all(gateway, call, ret);
        call->named = NULL;
    } else if (!route->execution || !call_execution(gateway, call, route->execution, ret)) {
        px_gateway_run(gateway, call, route->environment, ret); /* of an execution that is lost, any node says so */
    }
}

/* ---- Problems ---- */

/* Returns the id of the request, or NULL. */
static json_t *id_of(const struct px_mcp_route *route)
{
    json_t *id = route->id.length && route->id.length <= PX_MCP_ROUTE_STRING
                     ? px_json_loadb(route->id.at, route->id.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)
                     : NULL;
    if (json_is_string(id) || json_is_integer(id))
        return id;
    json_decref(id);
    return NULL;
}

/* What the model reads. */
static json_t *tool_error(const struct px_mcp_route *route, const char *code, const char *title, const char *hint)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_printf(&text, "%s: %s\n%s", code, title, hint);
    json_t *result =
        json_pack("{s:[{s:s, s:s}], s:b}", "content", "type", "text", "text", px_buffer_string(&text), "isError", 1);
    if (result && route->modern)
        px_json_set(result, "resultType", json_string("complete"));
    return result;
}

static json_t *protocol_error(const char *code, const char *title, const char *hint)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_printf(&text, "%s: %s. %s", code, title, hint);
    return json_pack("{s:i, s:s}", "code", MCP_INTERNAL_ERROR, "message", px_buffer_string(&text));
}

/* Changes a problem into an answer of JSON-RPC: for a tool into one that the model reads. With 429 and 503 nothing has started, and
 * the status tells proxies and clients to send the message again. A notification gets the problem as it is. */
static void translate(const struct px_mcp_route *route, struct px_fleet_answer *ret)
{
    px_auto_json json_t *id = id_of(route);
    px_auto_json json_t *problem = px_json_loadb(px_buffer_shown(&ret->body), px_buffer_length(&ret->body), 0, NULL);
    const char *code, *title, *hint;
    if (!id || json_unpack(problem, "{s:s, s:s, s:s}", "code", &code, "title", &title, "hint", &hint) < 0)
        return;
    bool again = ret->status == 429 || ret->status == 503, tool = route->tool && !route->task && !again;
    static const char *const kept[] = {"Retry-After", "Pyexec-Node"};
    struct px_fleet_answer answer = {.status = again ? ret->status : route->modern && !tool ? 400 : 200};
    px_gateway_answer_add(&answer, "Content-Type", "application/json");
    for (size_t i = 0; i < PX_COUNT(kept); i++) {
        const char *value = px_buffer_pair(&ret->headers, kept[i]);
        if (value)
            px_gateway_answer_add(&answer, kept[i], value);
    }
    px_auto_free char *text =
        px_json_take_text(json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, tool ? "result" : "error",
                                    tool ? tool_error(route, code, title, hint) : protocol_error(code, title, hint)));
    px_buffer_add_string(&answer.body, text);
    px_gateway_answer_clear(ret);
    *ret = answer;
}

void px_gateway_mcp(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    px_auto(px_mcp_route_done) struct px_mcp_route route;
    px_mcp_route_read(&route, call->body, call->length);
    call->target = PX_MCP_ROUTE_PATH; /* not as the client has written it */
    ask(gateway, call, &route, ret);
    const char *type = px_buffer_pair(&ret->headers, "Content-Type");
    if (type && strcmp(type, "application/problem+json") == 0)
        translate(&route, ret);
}
