/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/fleet_metrics.h"

#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/node_figures.h"
#include "base/spelling.h"
#include "serve/fleet.h"
#include "serve/server.h"

#define NODES_KEPT_NS (1000 * PX_NS_PER_MS) /* callers who ask more often do not make the nodes busy */

/* ---- A node ---- */

static const struct node_row {
    const char *name, *type, *help; /* of the metric that begins here; else NULL */
    const char *label, *value;
    size_t offset;
} figures[] = {
#define PX_NODE_METRIC(name, type, help) {name, type, help, NULL, NULL, 0},
#define PX_NODE_FIGURE(member, label, value) {NULL, NULL, NULL, label, value, offsetof(struct px_node_figures, member)},
#include "base/node_figures.def"
#undef PX_NODE_METRIC
#undef PX_NODE_FIGURE
};

static void add_worker(const struct px_node_figures *of, const char *node, struct px_buffer *out)
{
    const char *name = "";
    px_metric_head(out, "pyexec_worker_info", "gauge", "The name of this node in the fleet.");
    px_buffer_printf(out, "pyexec_worker_info{node=\"%s\"} 1\n", node);
    for (size_t i = 0; i < PX_COUNT(figures); i++) {
        const struct node_row *row = &figures[i];
        if (row->name) {
            name = row->name;
            px_metric_head(out, name, row->type, row->help);
            continue;
        }
        const _Atomic uint64_t *at = (const void *)((const char *)of + row->offset);
        px_buffer_add_string(out, name);
        if (*row->label)
            px_buffer_printf(out, "{%s=\"%s\"}", row->label, row->value);
        px_buffer_printf(out, " %llu\n", (unsigned long long)*at);
    }
}

/* ---- A gateway ---- */

/* What nodes say about themselves: members of an object of GET /v1/nodes. */
static const struct {
    const char *key, *name, *help;
} gauges[] = {
    {"running", "pyexec_fleet_node_running", "Runs in progress at the node."},
    {"waiting", "pyexec_fleet_node_waiting", "Runs that wait for a turn at the node."},
    {"asleep", "pyexec_fleet_node_asleep", "Runs at the node that sleep and therefore hold no turn."},
    {"sessions", "pyexec_fleet_node_sessions", "Sessions that are open at the node."},
    {"requests", "pyexec_fleet_node_requests", "Requests over NATS that the node has."},
    {"turns", "pyexec_fleet_node_turns", "Runs that the node lets use its CPUs at once."},
    {"full_at", "pyexec_fleet_node_full_at", "With so many waiting runs the node takes no more."},
    {"full", "pyexec_fleet_node_full", "1 while the node takes no runs, because too many wait there or it drains."},
    {"draining", "pyexec_fleet_node_draining", "1 while the node drains."},
};

/* A node's name becomes a label. What a node sends is not trusted to be one. */
static const char *name_of(const json_t *node)
{
    const char *name = json_string_value(json_object_get(node, "node"));
    return px_word_is_plain(name, PX_NODE_NAME_MAX) ? name : NULL;
}

static unsigned long long number_of(const json_t *value)
{
    json_int_t number = json_is_true(value) ? 1 : json_integer_value(value);
    return number > 0 ? (unsigned long long)number : 0;
}

static void write_nodes(const json_t *nodes, struct px_buffer *out)
{
    static const char *const states[] = {"serves", "full", "draining"};
    size_t counts[PX_COUNT(states)] = {0}, i;
    json_t *node;
    json_array_foreach(nodes, i, node)
        counts[number_of(json_object_get(node, "draining")) ? 2
               : number_of(json_object_get(node, "full"))   ? 1
                                                            : 0] += name_of(node) != NULL;
    px_metric_head(out, "pyexec_fleet_nodes", "gauge", "Nodes that answer, by state.");
    for (size_t state = 0; state < PX_COUNT(states); state++)
        px_buffer_printf(out, "pyexec_fleet_nodes{state=\"%s\"} %zu\n", states[state], counts[state]);
    for (size_t gauge = 0; gauge < PX_COUNT(gauges) && json_array_size(nodes); gauge++) {
        px_metric_head(out, gauges[gauge].name, "gauge", gauges[gauge].help);
        json_array_foreach(nodes, i, node)
            if (name_of(node))
                px_buffer_printf(out, "%s{node=\"%s\"} %llu\n", gauges[gauge].name, name_of(node),
                                 number_of(json_object_get(node, gauges[gauge].key)));
    }
}

/* Asks the nodes. Without an answer (no connection to NATS) the page has no rows of nodes, since nothing is known about them. */
static void ask_nodes(struct px_fleet *fleet, struct px_buffer *ret)
{
    struct px_fleet_call call = {.method = "GET", .target = "/v1/nodes", .route = "node_list", .principal = "local"};
    struct px_fleet_answer answer __attribute__((cleanup(px_fleet_answer_done))) = {0};
    fleet->call(fleet, &call, &answer);
    json_error_t problem;
    px_auto_json json_t *got = px_json_read(px_buffer_shown(&answer.body), px_buffer_length(&answer.body), 0, &problem);
    const json_t *nodes = json_object_get(got, "nodes");
    ret->length = 0;
    if (answer.status == 200 && json_is_array(nodes))
        write_nodes(nodes, ret);
}

static void add_nodes(struct px_server *server, struct px_buffer *out)
{
    struct px_fleet_page *page = &server->fleet_page;
    pthread_mutex_lock(&page->lock);
    int64_t now = px_now_ns();
    if (!page->made_ns || now - page->made_ns > NODES_KEPT_NS) {
        ask_nodes(server->options->fleet, &page->nodes);
        page->made_ns = px_now_ns();
    }
    px_buffer_add_buffer(out, &page->nodes);
    pthread_mutex_unlock(&page->lock);
}

static void add_gateway(struct px_server *server, struct px_buffer *out)
{
    struct px_fleet *fleet = server->options->fleet;
    struct px_fleet_counts counts;
    fleet->count(fleet, &counts);
    px_metric_number(out, "pyexec_gateway_connected", "gauge", "1 while the gateway has a connection to a NATS server.",
                     fleet->is_connected(fleet));
    px_metric_number(out, "pyexec_gateway_reconnects_total", "counter",
                     "Connections to NATS that were made again after one was lost.", counts.reconnects);
    px_metric_number(out, "pyexec_gateway_waiting", "gauge", "Requests over NATS that wait for their answer.",
                     counts.waiting);
    px_metric_head(out, "pyexec_gateway_requests_total", "counter",
                   "Requests over NATS by how they ended. no_responders: no node had room; lost: the node is gone.");
    for (int end = 0; end < PX_EXCHANGE_END_COUNT; end++)
        px_buffer_printf(out, "pyexec_gateway_requests_total{result=\"%s\"} %llu\n",
                         px_exchange_end_name((enum px_exchange_end)end), (unsigned long long)counts.ends[end]);
    px_metric_head(out, "pyexec_gateway_request_duration_seconds", "histogram",
                   "How long HTTP requests waited for the answer of a node.");
    px_metric_histogram(out, "pyexec_gateway_request_duration_seconds", "", "", &server->metrics.forwarded);
    if (!server->draining) /* then the page is made at once, and the nodes are not asked */
        add_nodes(server, out);
}

bool px_metrics_asks_nodes(const struct px_http_request *request)
{
    return request->server->options->fleet && !request->server->draining &&
           strcmp(request->route->name, "metrics") == 0;
}

void px_fleet_metrics_add(struct px_server *server, struct px_buffer *out)
{
    if (server->options->figures)
        add_worker(server->options->figures, server->options->node, out);
    if (server->options->fleet)
        add_gateway(server, out);
}
