/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the Model Context Protocol: POST /mcp of the server. A client has sent each to the subject of its session, or to another one
 * if it has none. What is found here, without parsing the body, decides the order of calls and who owns a session. So a message for a
 * session must name it and its tool in plain text; the server, which parses it, compares the session once more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/spelling.h"
#include "nats_link/mcp_route.h"
#include "worker/worker_seats.h"

#define MCP_OUTCOME_MAX 8192u /* bytes of the answer of a tool that has failed */

/* Tools that take a session. Those that are not in the first line may make it. */
#define MCP_LOOKS "interrupt reset_session list_files read_file fork_session undo"
#define MCP_RUNS "run_python"
#define MCP_CLOSES "reset_session"
#define MCP_FORKS "fork_session"
#define MCP_ORDERED MCP_RUNS " " MCP_FORKS " undo"

/* With these codes there is such a session, or there may be. The text of an error begins with its code. */
#define MCP_MAY_EXIST "internal session_busy session_not_forkable"

static bool is_of_subject(const struct px_node_request *request, const struct px_mcp_route *route)
{
    if (!request->session)
        return !route->session;
    return route->session && route->tool && strcmp(route->session, request->session) == 0;
}

bool px_node_mcp_take(struct px_node_request *request)
{
    px_auto(px_mcp_route_done) struct px_mcp_route route;
    px_mcp_route_read(&route, px_buffer_shown(&request->body), px_buffer_length(&request->body));
    request->known = true;
    if (!is_of_subject(request, &route)) {
        px_answer_problem(
            request, 400, "invalid_request",
            "Send a tool call with session_id to pyexec.v1.node.NODE.s.PRINCIPAL.ID, and other messages to "
            "pyexec.v1.run.",
            "the session_id of the message is not that of its subject");
        return false;
    }
    request->counted = px_mcp_route_calls(&route, MCP_RUNS);
    if (!request->session)
        return true;
    request->looks = px_mcp_route_calls(&route, MCP_LOOKS);
    request->closes = px_mcp_route_calls(&route, MCP_CLOSES);
    request->forks = px_mcp_route_calls(&route, MCP_FORKS);
    request->ordered = px_mcp_route_calls(&route, MCP_ORDERED);
    px_buffer_printf(&request->headers, "Pyexec-Session: %s", request->session);
    px_buffer_add_byte(&request->headers, '\0');
    return true;
}

void px_node_mcp_event(struct px_node_request *request, const struct px_sse_event *event)
{
    px_buffer_done(&request->answer);
    if (event->length <= MCP_OUTCOME_MAX) /* it may be the last one, which says what became of the call */
        px_buffer_add(&request->answer, event->data, event->length);
    px_answer_event(request, event->name, event->id, NULL, event->data, event->length);
}

enum mcp_outcome {
    WORKED,  /* or it may have */
    FAILED,  /* but it may have made the session */
    REFUSED, /* nothing was done */
};

/* What became of the tool call, from its answer, if that is short. Longer ones have worked. */
static enum mcp_outcome outcome_of(const struct px_node_request *request)
{
    size_t length = px_buffer_length(&request->answer);
    if (!length || length > MCP_OUTCOME_MAX)
        return WORKED;
    px_auto_json json_t *answer = px_json_loadb(px_buffer_shown(&request->answer), length, JSON_ALLOW_NUL, NULL);
    const json_t *result = json_object_get(answer, "result"), *error = json_object_get(answer, "error");
    if (error)
        return json_integer_value(json_object_get(error, "code")) == -32603 ? FAILED : REFUSED;
    if (!json_is_true(json_object_get(result, "isError")) || json_object_get(result, "structuredContent"))
        return WORKED;
    const char *text =
        json_string_value(json_object_get(json_array_get(json_object_get(result, "content"), 0), "text"));
    char code[32];
    snprintf(code, sizeof code, "%.*s", (int)strcspn(text ? text : "", ":"), text ? text : "");
    return *code && !px_word_is_listed(MCP_MAY_EXIST, code) ? REFUSED : FAILED;
}

/* The status is 200 also for a tool that failed, so the answer says what became of the session. */
void px_node_mcp_answered(struct px_node_request *request, int status)
{
    struct px_seat *seat = request->seat;
    enum mcp_outcome outcome = px_status_refuses(status) ? REFUSED : outcome_of(request);
    request->forked = request->forks && outcome == WORKED;
    request->answered = true;
    seat->fresh &= request->looks || outcome == REFUSED;
    if (request->closes && outcome == WORKED)
        seat->gone = true;
    else if (!request->looks && outcome == WORKED) /* it is there again */
        seat->gone = false;
}
