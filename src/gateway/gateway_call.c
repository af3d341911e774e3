/* SPDX-License-Identifier: Apache-2.0 */
/* Which subject a request goes to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json_find.h"
#include "base/spelling.h"
#include "gateway/gateway.h"

#define ROUTE_ENVIRONMENT_MAX 64

/* ---- Texts ---- */

void px_gateway_pyexec_call(struct px_buffer *out, const struct px_fleet_call *call, const char *path)
{
    size_t length = strcmp(call->method, "GET") == 0 ? strlen(path) : strcspn(path, "?");
    px_buffer_printf(out, "%s ", call->method);
    px_buffer_add(out, path, length);
}

bool px_gateway_is_route(const struct px_fleet_call *call, const char *names)
{
    return px_word_is_listed(names, call->route);
}

bool px_gateway_body_has(const struct px_fleet_call *call, const char *member)
{
    return px_json_find((struct px_json_span){call->body, call->length}, member).at;
}

/* `"tools": []` and `"control": false` ask for nothing. */
static bool asks_for(const struct px_fleet_call *call, const char *member)
{
    if (!px_gateway_body_has(call, member))
        return false;
    px_auto_json json_t *body = px_json_read(call->body, call->length, 0, NULL);
    const json_t *value = json_object_get(body, member);
    return !body || (!json_is_false(value) && (!json_is_array(value) || json_array_size(value)));
}

/* With events the request can be cancelled, and its node can be asked about it. Tools and control need a client that takes
 * events, or that asks for a detached execution: otherwise the node says so. An execution that is asked for, and a message of MCP, would get
 * other answers. */
bool px_gateway_wants_events(const struct px_fleet_call *call)
{
    if (call->events)
        return true;
    if (px_gateway_is_route(call, "execution_get mcp"))
        return false;
    return !px_gateway_is_route(call, "execute verify session_execute session_fork session_undo session_reset") ||
           px_gateway_body_has(call, "detach") || (!asks_for(call, "tools") && !asks_for(call, "control"));
}

/* ---- Requests that any node can serve ---- */

enum px_exchange_end px_gateway_ask_any(struct px_gateway *gateway, struct px_fleet_call *call, const char *what,
                                        const char *pyexec_call, const char *body, size_t length, bool passes,
                                        struct px_fleet_answer *ret)
{
    px_auto_buffer struct px_buffer subject = {0};
    px_buffer_add_string(&subject, "pyexec.v1.as.");
    px_base64url_encode(&subject, call->principal, strlen(call->principal));
    px_buffer_printf(&subject, ".%s", what);
    struct px_exchange exchange = {.gateway = gateway,
                                   .call = call,
                                   .subject = px_buffer_string(&subject),
                                   .pyexec_call = pyexec_call,
                                   .body = body,
                                   .length = length,
                                   .passes = passes,
                                   .events = !passes || strcmp(what, "open") == 0 || px_gateway_wants_events(call)};
    return px_buffer_ok(&subject) ? px_exchange_run(&exchange, ret) : PX_EXCHANGE_NOT_SENT;
}

/* The environment that the run asks for. */
static char *environment_of(const struct px_fleet_call *call)
{
    if (!px_gateway_body_has(call, "policy"))
        return NULL;
    px_auto_json json_t *body = px_json_read(call->body, call->length, 0, NULL);
    const char *name = json_string_value(json_object_get(json_object_get(body, "policy"), "environment"));
    return name ? strdup(name) : NULL;
}

void px_gateway_run(struct px_gateway *gateway, struct px_fleet_call *call, const char *environment,
                    struct px_fleet_answer *ret)
{
    char what[80];
    px_auto_buffer struct px_buffer text = {0};
    enum px_exchange_end end = PX_EXCHANGE_NOBODY;
    px_gateway_pyexec_call(&text, call, call->target);
    if (px_word_is_plain(environment, ROUTE_ENVIRONMENT_MAX)) {
        snprintf(what, sizeof what, "run.%s", environment);
        end = px_gateway_ask_any(gateway, call, what, px_buffer_string(&text), call->body, call->length, true, ret);
    }
    if (end == PX_EXCHANGE_NOBODY)
        end = px_gateway_ask_any(gateway, call, "run", px_buffer_string(&text), call->body, call->length, true, ret);
    if (end != PX_EXCHANGE_ANSWERED)
        px_gateway_failed(gateway, end, NULL, ret);
}

static void run_anywhere(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    px_auto_free char *environment = environment_of(call);
    px_gateway_run(gateway, call, environment, ret);
}

static void open_session(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    enum px_exchange_end end = px_gateway_ask_any(gateway, call, "open", NULL, call->body, call->length, true, ret);
    if (end != PX_EXCHANGE_ANSWERED) {
        px_gateway_failed(gateway, end, NULL, ret);
        return;
    }
    px_auto_json json_t *session = px_json_read(px_buffer_shown(&ret->body), px_buffer_length(&ret->body), 0, NULL);
    const char *id = json_string_value(json_object_get(session, "id")),
               *node = px_buffer_pair(&ret->headers, "Pyexec-Node");
    if (ret->status == 201 && id && px_word_is_plain(node, PX_NODE_NAME_MAX))
        px_places_keep(&gateway->places, 's', call->principal, id, node);
    if (ret->status == 200) /* over HTTP a session is made, or it is an error */
        px_gateway_problem(ret, 409, "conflict", "Use that session, or choose another id.",
                           "there is already a session with this id");
}

/* ---- Requests for one node ---- */

enum px_exchange_end px_gateway_ask_node(struct px_gateway *gateway, struct px_fleet_call *call, const char *node,
                                         struct px_fleet_answer *ret)
{
    px_auto_buffer struct px_buffer subject = {0}, text = {0};
    px_buffer_printf(&subject, "pyexec.v1.node.%s.p.", node);
    px_base64url_encode(&subject, call->principal, strlen(call->principal));
    px_gateway_pyexec_call(&text, call, call->target);
    struct px_exchange exchange = {.gateway = gateway,
                                   .call = call,
                                   .subject = px_buffer_string(&subject),
                                   .pyexec_call = px_buffer_string(&text),
                                   .node = node,
                                   .body = call->body,
                                   .length = call->length,
                                   .passes = true,
                                   .events = px_gateway_wants_events(call)};
    return px_buffer_ok(&subject) && px_buffer_ok(&text) ? px_exchange_run(&exchange, ret) : PX_EXCHANGE_NOT_SENT;
}

static void ask_one(struct px_gateway *gateway, struct px_fleet_call *call, const char *node,
                    struct px_fleet_answer *ret)
{
    enum px_exchange_end end = px_gateway_ask_node(gateway, call, node, ret);
    if (end == PX_EXCHANGE_NOBODY)
        px_gateway_problem(ret, 404, "not_found", "What was there is lost.", "it was at node %s, which is gone", node);
    else if (end != PX_EXCHANGE_ANSWERED)
        px_gateway_failed(gateway, end, NULL, ret);
}

/* The id of a detached execution is e-NODE-DIGITS. */
bool px_gateway_node_of_execution(const char *id, char ret[PX_NODE_NAME_MAX + 1])
{
    const char *end = id ? strrchr(id, '-') : NULL;
    if (!id || strncmp(id, "e-", 2) != 0 || end <= id + 2 || end - id - 2 > (long)PX_NODE_NAME_MAX)
        return false;
    snprintf(ret, PX_NODE_NAME_MAX + 1, "%.*s", (int)(end - id - 2), id + 2);
    return px_word_is_plain(ret, PX_NODE_NAME_MAX);
}

static void ask_about(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    char node[PX_NODE_NAME_MAX + 1];
    bool execution = px_gateway_is_route(call, "execution_get execution_cancel");
    if (execution && !px_gateway_node_of_execution(call->named, node))
        px_gateway_problem(ret, 404, "not_found", "Use the id that the answer with status 202 had.",
                           "there is no such execution");
    else if (execution || px_places_find(&gateway->places, 'c', call->principal, call->named, node))
        ask_one(gateway, call, node, ret);
    else
        px_gateway_seek(gateway, call, ret);
}

/* ---- All requests ---- */

static void ask(struct px_fleet *fleet, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    struct px_gateway *gateway = (struct px_gateway *)fleet;
    if (call->session)
        px_gateway_session(gateway, call, ret);
    else if (px_gateway_is_route(call, "execute verify environment_list"))
        run_anywhere(gateway, call, ret);
    else if (px_gateway_is_route(call, "session_create"))
        open_session(gateway, call, ret);
    else if (px_gateway_is_route(call, "session_list execution_list"))
        px_gateway_gather(gateway, call, ret);
    else if (px_gateway_is_route(call, "node_list"))
        px_gateway_list_nodes(gateway, call, ret);
    else if (px_gateway_is_route(call, "node_drain"))
        px_gateway_drain(gateway, call, ret);
    else if (px_gateway_is_route(call, "mcp"))
        px_gateway_mcp(gateway, call, ret);
    else if (call->named)
        ask_about(gateway, call, ret);
    else
        px_gateway_problem(ret, 501, "not_found", "Connect to a node that also listens: `pyexec worker --listen`.",
                           "a gateway does not serve %.100s", call->target);
}

static bool is_connected(struct px_fleet *fleet)
{
    return px_gateway_link_is_up((struct px_gateway *)fleet);
}

static void close_gateway(struct px_fleet *fleet)
{
    struct px_gateway *gateway = (struct px_gateway *)fleet;
    if (!px_gateway_link_close(gateway)) /* the process ends soon */
        return;
    px_places_done(&gateway->places);
    pthread_mutex_destroy(&gateway->lock);
    pthread_mutex_destroy(&gateway->log_lock);
    free(gateway);
}

struct px_fleet *px_gateway_open(const json_t *config, bool now, char *problem, size_t size)
{
    struct px_gateway *gateway = calloc(1, sizeof *gateway);
    snprintf(problem, size, "no memory");
    if (!gateway)
        return NULL;
    gateway->fleet =
        (struct px_fleet){ask, px_waiter_wake, is_connected, px_gateway_count, px_gateway_log_to, close_gateway};
    pthread_mutex_init(&gateway->lock, NULL);
    pthread_mutex_init(&gateway->log_lock, NULL);
    if (px_places_init(&gateway->places) == 0 && px_gateway_link_open(gateway, config, now, problem, size) == 0)
        return &gateway->fleet;
    close_gateway(&gateway->fleet);
    return NULL;
}
