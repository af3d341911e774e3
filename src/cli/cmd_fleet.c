/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec fleet: the nodes of a fleet, as a gateway sees them (src/gateway). */
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/nats_command.h"
#include "cli/print.h"
#include "serve/fleet.h"

struct fleet_arguments {
    struct cli_nats_flags nats;
    bool json;
    const char *config;
};

static const struct cli_option rows[] = {
    CLI_NATS_OPTION(struct fleet_arguments, nats.urls),
    CLI_CREDS_OPTION(struct fleet_arguments, nats.creds),
    {"json", 0, NULL, "Print JSON.", CLI_INTO(struct fleet_arguments, json)},
    {"config", 0, "FILE", "Configuration file, instead of /etc/pyexec/pyexec.conf.",
     CLI_INTO(struct fleet_arguments, config)},
};

/* Figures that can be added. */
static const char *const figures[] = {"running", "waiting", "asleep", "sessions", "turns", "requests"};

/* ---- Questions ---- */

/* Returns the answer, or NULL with `error`. */
static json_t *ask(const struct fleet_arguments *arguments, struct px_fleet_call *call, pyexec_error *error)
{
    struct px_fleet_answer answer __attribute__((cleanup(px_fleet_answer_done))) = {0};
    json_error_t problem;
    struct px_fleet *fleet = cli_fleet_open(&arguments->nats, arguments->config, true, error);
    if (!fleet)
        return NULL;
    call->principal = "local";
    fleet->call(fleet, call, &answer);
    fleet->close(fleet);
    px_auto_json json_t *got = px_json_read(px_buffer_shown(&answer.body), px_buffer_length(&answer.body), 0, &problem);
    if (got && answer.status < 400)
        return json_incref(got);
    const char *title = json_string_value(json_object_get(got, "title")),
               *hint = json_string_value(json_object_get(got, "hint"));
    px_error_set(error, PYEXEC_INTERNAL, "%s", title ? title : "the answer can't be read");
    if (hint)
        px_error_hint(error, "%s", hint);
    return NULL;
}

static json_t *list_nodes(const struct fleet_arguments *arguments, pyexec_error *error)
{
    struct px_fleet_call call = {.method = "GET", .target = "/v1/nodes", .route = "node_list"};
    return ask(arguments, &call, error);
}

/* ---- What is printed ---- */

static int print_json(const json_t *json)
{
    px_auto_buffer struct px_buffer out = {0};
    px_auto_free char *text = px_json_dumps(json, JSON_INDENT(2));
    px_buffer_add_string(&out, text);
    px_buffer_add_byte(&out, '\n');
    return cli_print(&out);
}

static long long number_of(const json_t *node, const char *key)
{
    return (long long)json_integer_value(json_object_get(node, key));
}

static void add_labels(struct px_buffer *out, json_t *labels)
{
    const char *key;
    json_t *value;
    bool first = true;
    json_object_foreach(labels, key, value) {
        px_buffer_printf(out, "%s%s=%s", first ? "" : ",", key, json_string_value(value));
        first = false;
    }
}

static void add_environments(struct px_buffer *out, json_t *names)
{
    json_t *name;
    size_t i;
    json_array_foreach(names, i, name)
        px_buffer_printf(out, "%s%s", i ? "," : "", json_string_value(name));
}

static const char *text_of(const json_t *node, const char *key)
{
    const char *text = json_string_value(json_object_get(node, key));
    return text ? text : "?";
}

static void add_row(struct px_buffer *out, const json_t *node)
{
    const char *state = json_is_true(json_object_get(node, "draining")) ? "draining"
                        : json_is_true(json_object_get(node, "full"))   ? "full"
                                                                        : "serves";
    px_buffer_printf(out, "%-20s %-10s %-9s %7lld %7lld %8lld  ", text_of(node, "node"), text_of(node, "version"),
                     state, number_of(node, "running"), number_of(node, "waiting"), number_of(node, "sessions"));
    size_t before = out->length;
    add_labels(out, json_object_get(node, "labels"));
    px_buffer_add_string(out, out->length == before ? "-  " : "  ");
    before = out->length;
    add_environments(out, json_object_get(node, "environments"));
    px_buffer_add_string(out, out->length == before ? "-\n" : "\n");
}

/* ---- The subcommands ---- */

static int run_list(const struct fleet_arguments *arguments, const char *unused, pyexec_error *error)
{
    px_auto_buffer struct px_buffer out = {0};
    px_auto_json json_t *got = list_nodes(arguments, error);
    const json_t *nodes = json_object_get(got, "nodes"), *node;
    size_t i;
    (void)unused;
    if (!got)
        return cli_fail(error);
    if (arguments->json)
        return print_json(got);
    if (!json_array_size(nodes))
        cli_say("no node answers", "`pyexec worker --nats URL` makes a machine a node.");
    else
        px_buffer_printf(&out, "%-20s %-10s %-9s %7s %7s %8s  %s  %s\n", "NODE", "VERSION", "STATE", "RUNNING",
                         "WAITING", "SESSIONS", "LABELS", "ENVIRONMENTS");
    json_array_foreach(nodes, i, node)
        add_row(&out, node);
    return cli_print(&out);
}

static int run_stats(const struct fleet_arguments *arguments, const char *unused, pyexec_error *error)
{
    px_auto_buffer struct px_buffer out = {0};
    px_auto_json json_t *got = list_nodes(arguments, error), *sums = json_object();
    const json_t *nodes = json_object_get(got, "nodes"), *node;
    size_t i;
    (void)unused;
    if (!got)
        return cli_fail(error);
    px_json_set(sums, "nodes", json_integer((json_int_t)json_array_size(nodes)));
    for (size_t at = 0; at < PX_COUNT(figures); at++) {
        json_int_t sum = 0;
        json_array_foreach(nodes, i, node)
            sum += number_of(node, figures[at]);
        px_json_set(sums, figures[at], json_integer(sum));
    }
    if (arguments->json)
        return print_json(sums);
    px_buffer_printf(&out, "%-9s %lld\n", "nodes", number_of(sums, "nodes"));
    for (size_t at = 0; at < PX_COUNT(figures); at++)
        px_buffer_printf(&out, "%-9s %lld\n", figures[at], number_of(sums, figures[at]));
    return cli_print(&out);
}

static int run_drain(const struct fleet_arguments *arguments, const char *node, pyexec_error *error)
{
    px_auto_buffer struct px_buffer out = {0};
    struct px_fleet_call call = {
        .method = "POST", .target = "/v1/nodes/NODE/drain", .route = "node_drain", .named = node};
    px_auto_json json_t *got = ask(arguments, &call, error);
    if (!got)
        return cli_fail(error);
    if (arguments->json)
        return print_json(got);
    px_buffer_printf(&out, "%s drains: it takes no new work, finishes its runs and ends\n", node);
    return cli_print(&out);
}

static const struct {
    const char *name;
    bool named; /* it takes the name of a node */
    int (*run)(const struct fleet_arguments *arguments, const char *node, pyexec_error *error);
} subcommands[] = {{"list", false, run_list}, {"stats", false, run_stats}, {"drain", true, run_drain}};

static int run(const struct cli_arguments *arguments, void *target)
{
    pyexec_error error = {0};
    const struct cli_list *operands = &arguments->operands;
    for (size_t i = 0; operands->count && i < PX_COUNT(subcommands); i++)
        if (strcmp(operands->items[0], subcommands[i].name) == 0 && operands->count == 1 + (size_t)subcommands[i].named)
            return subcommands[i].run(target, subcommands[i].named ? operands->items[1] : NULL, &error);
    px_error_set(&error, PYEXEC_INVALID_REQUEST,
                 operands->count ? "fleet: it can't do '%.100s' with %zu more operands" : "fleet: no subcommand given",
                 operands->count ? operands->items[0] : "", operands->count ? operands->count - 1 : 0);
    px_error_hint(&error, "Write list, stats, or drain NODE: `pyexec fleet list --nats nats://HOST:4222`.");
    return cli_fail(&error);
}

const struct cli_command cmd_fleet = {
    .name = "fleet",
    .summary = "the nodes of a fleet: list, figures, drain",
    .description =
        "list shows the nodes (`pyexec worker`) that answer at a NATS server, stats adds up their figures, and drain NODE lets a node "
        "finish its work and end. Keys of [nats] are taken from the configuration file and the environment "
        "(PYEXEC_NATS_URL=nats://HOST:4222). docs/scale.md has more.",
    .operands = "list | stats | drain NODE",
    .max_operands = 2,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct fleet_arguments),
    .run = run,
};
