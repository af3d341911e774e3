/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of sessions. A session lives at one node. The gateway finds the node with `open`, or any node says it (421). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/spelling.h"
#include "gateway/gateway.h"

#define SESSIONS "/v1/sessions/"

static enum px_exchange_end send_to(struct px_gateway *gateway, struct px_fleet_call *call, const char *node,
                                    const char *pyexec_call, bool whole, struct px_fleet_answer *ret)
{
    px_auto_buffer struct px_buffer subject = {0};
    px_buffer_printf(&subject, "pyexec.v1.node.%s.s.", node);
    px_base64url_encode(&subject, call->principal, strlen(call->principal));
    px_buffer_add_byte(&subject, '.');
    px_base64url_encode(&subject, call->session, strlen(call->session));
    struct px_exchange exchange = {.gateway = gateway,
                                   .call = call,
                                   .subject = px_buffer_string(&subject),
                                   .pyexec_call = pyexec_call,
                                   .node = node,
                                   .body = whole ? call->body : NULL,
                                   .length = whole ? call->length : 0,
                                   .passes = whole,
                                   .events = !whole || px_gateway_wants_events(call)};
    return px_buffer_ok(&subject) && pyexec_call ? px_exchange_run(&exchange, ret) : PX_EXCHANGE_NOT_SENT;
}

static enum px_exchange_end ask_at(struct px_gateway *gateway, struct px_fleet_call *call, const char *node,
                                   struct px_fleet_answer *ret)
{
    px_auto_buffer struct px_buffer text = {0};
    const char *rest = call->target;
    if (!px_gateway_is_route(call, "mcp")) {
        rest += sizeof SESSIONS - 1;
        rest += strcspn(rest, "/?");
    }
    px_gateway_pyexec_call(&text, call, rest);
    return send_to(gateway, call, node, px_buffer_string(&text), true, ret);
}

/* The body of `open`: the id, and the policy and the packages that the call has for a new session. */
static char *opens(const struct px_fleet_call *call)
{
    px_auto_json json_t *body = NULL;
    json_t *open = json_pack("{s:s}", "id", call->session);
    if (px_gateway_body_has(call, "session_policy") || px_gateway_body_has(call, "packages"))
        body = px_json_read(call->body, call->length, 0, NULL);
    json_t *policy = json_object_get(body, "session_policy");
    if (policy)
        px_json_set(open, "policy", json_incref(policy));
    json_t *packages = json_object_get(body, "packages");
    if (packages)
        px_json_set(open, "packages", json_incref(packages));
    return px_json_take_text(open);
}

static enum px_exchange_end open_session(struct px_gateway *gateway, struct px_fleet_call *call,
                                         struct px_fleet_answer *ret)
{
    px_auto_free char *body = opens(call);
    return px_gateway_ask_any(gateway, call, "open", NULL, body ? body : "{}", body ? strlen(body) : 2, false, ret);
}

static bool take_node(const struct px_fleet_answer *answer, char ret[PX_NODE_NAME_MAX + 1])
{
    const char *node = px_buffer_pair(&answer->headers, "Pyexec-Node");
    if (!px_word_is_plain(node, PX_NODE_NAME_MAX))
        return false;
    strcpy(ret, node);
    return true;
}

/* For the caller, the call has made the session that `open` made. */
static void say_created(struct px_fleet_answer *answer)
{
    px_auto_json json_t *result =
        px_json_read(px_buffer_shown(&answer->body), px_buffer_length(&answer->body), JSON_ALLOW_NUL, NULL);
    json_t *session = json_object_get(result, "session");
    if (!json_is_object(session))
        return;
    px_json_set(session, "created", json_true());
    px_auto_free char *text = px_json_dumps(result, JSON_COMPACT);
    if (!text)
        return;
    px_buffer_done(&answer->body);
    px_buffer_add_string(&answer->body, text);
}

static void keep_branches(struct px_gateway *gateway, const struct px_fleet_call *call, const char *node,
                          const struct px_fleet_answer *answer)
{
    px_auto_json json_t *forked =
        px_json_read(px_buffer_shown(&answer->body), px_buffer_length(&answer->body), 0, NULL);
    json_t *id;
    size_t i;
    json_array_foreach(json_object_get(forked, "sessions"), i, id)
        if (json_is_string(id))
            px_places_keep(&gateway->places, 's', call->principal, json_string_value(id), node);
}

static bool refuse_nameless(struct px_fleet_answer *ret)
{
    px_gateway_problem(ret, 502, "internal", "Look at the versions of the nodes: `pyexec fleet list`.",
                       "the answer of a node has no Pyexec-Node");
    return false;
}

/* Finds a node, which knows where the session is. False: `ret` is the answer. */
static bool find_any(struct px_gateway *gateway, struct px_fleet_call *call, char node[PX_NODE_NAME_MAX + 1],
                     struct px_fleet_answer *ret)
{
    enum px_exchange_end end = px_gateway_ask_any(gateway, call, "run", "GET /v1/environments", NULL, 0, false, ret);
    if (end == PX_EXCHANGE_ANSWERED) /* any answer names a node */
        return take_node(ret, node) || refuse_nameless(ret);
    px_gateway_failed(gateway, end, NULL, ret);
    return false;
}

/* Finds the node of the session, or makes it there. *ret_made: the session is new. False: `ret` is the answer. */
static bool find_or_make(struct px_gateway *gateway, struct px_fleet_call *call, char node[PX_NODE_NAME_MAX + 1],
                         bool *ret_made, struct px_fleet_answer *ret)
{
    enum px_exchange_end end = open_session(gateway, call, ret);
    if (end != PX_EXCHANGE_ANSWERED)
        px_gateway_failed(gateway, end, NULL, ret);
    if (end != PX_EXCHANGE_ANSWERED || ret->status >= 400)
        return false;
    *ret_made = ret->status == 201;
    return take_node(ret, node) || refuse_nameless(ret);
}

/* Nobody listens at the node: it is gone, or it is connecting to another NATS server. Any other node can say where the session is; if it is
 * lost, that node also removes it from the fleet's records. This does not use `open`, which would make a new session. True: the session is
 * still there, at `node`. False: `ret` says that it is lost, or why that is not known. */
static bool find_again(struct px_gateway *gateway, struct px_fleet_call *call, char node[PX_NODE_NAME_MAX + 1],
                       struct px_fleet_answer *ret)
{
    char gone[PX_NODE_NAME_MAX + 1];
    strcpy(gone, node);
    px_places_forget(&gateway->places, 's', call->principal, call->session);
    if (!find_any(gateway, call, node, ret))
        return false;
    enum px_exchange_end end = send_to(gateway, call, node, "GET ", false, ret);
    if (end != PX_EXCHANGE_ANSWERED) {
        px_gateway_failed(gateway, end, NULL, ret);
        return false;
    }
    if (ret->status == 200 || ret->status == 421)
        return take_node(ret, node) || refuse_nameless(ret);
    if (ret->status == 404)
        px_gateway_problem(ret, 410, "session_lost",
                           "Its state is lost. The next call with its id makes a new session.",
                           "the session was at node %s, which is gone", gone);
    return false;
}

void px_gateway_session(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    char node[PX_NODE_NAME_MAX + 1];
    bool made = false, known = px_places_find(&gateway->places, 's', call->principal, call->session, node);
    if (!known && !(px_gateway_is_route(call, "session_execute") ? find_or_make(gateway, call, node, &made, ret)
                                                                 : find_any(gateway, call, node, ret)))
        return;
    enum px_exchange_end end = ask_at(gateway, call, node, ret);
    if (end == PX_EXCHANGE_ANSWERED && ret->status == 421 && take_node(ret, node))
        end = ask_at(gateway, call, node, ret);
    if (end == PX_EXCHANGE_NOBODY) {
        if (!find_again(gateway, call, node, ret))
            return;
        end = ask_at(gateway, call, node, ret);
    }
    if (end != PX_EXCHANGE_ANSWERED) {
        px_gateway_failed(gateway, end, NULL, ret);
        return;
    }
    if (ret->status < 400)
        px_places_keep(&gateway->places, 's', call->principal, call->session, node);
    else if (ret->status == 410 || ret->status == 421 || ret->status == 404)
        px_places_forget(&gateway->places, 's', call->principal, call->session);
    if (px_gateway_is_route(call, "session_fork") && ret->status < 300)
        keep_branches(gateway, call, node, ret);
    else if (made && ret->status == 200)
        say_created(ret);
}
