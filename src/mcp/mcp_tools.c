/* SPDX-License-Identifier: Apache-2.0 */
/* The list of tools, with what a model is told about the policy of its scripts. */
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "mcp/mcp_private.h"
#include "result/result_rows.h"

#define CLIENTS_STUBS_BYTES \
    12000u /* the most bytes of signatures in the description; more would fill the model's context */

const char px_mcp_instructions[] =
    "Runs Python in a sandbox. Give run_python a session_id of your choice to keep variables, imports and "
    "files between calls; calls without one start from nothing. A failed script says what to do differently.";

const struct px_mcp_tool *px_mcp_tool_find(const char *name)
{
    for (size_t i = 0; i < px_mcp_tool_count; i++)
        if (strcmp(px_mcp_tools[i].name, name) == 0)
            return &px_mcp_tools[i];
    return NULL;
}

static void add_names(struct px_buffer *out, const struct px_strings *names)
{
    for (size_t i = 0; i < names->count; i++)
        px_buffer_printf(out, "%s%s", i ? ", " : "", names->items[i]);
}

static void describe_imports(struct px_buffer *out, const struct px_policy *policy)
{
    bool list = policy->use_import_whitelist;
    if (list && !policy->allowed_imports.count) {
        px_buffer_add_string(out, "No module may be imported");
    } else if (list) {
        px_buffer_add_string(out, "These modules may be imported, and no others: ");
        add_names(out, &policy->allowed_imports);
    } else {
        px_buffer_add_string(out, "Any module that is installed may be imported");
        px_buffer_add_string(out, policy->banned_imports.count ? " but these: " : "");
        add_names(out, &policy->banned_imports);
    }
    px_buffer_add_string(out, px_policy_isolates(policy) && !*policy->environment
                                  ? ". Only the standard library is there, and nothing can be installed.\n"
                                  : ". Nothing can be installed.\n");
}

static void add_size(struct px_buffer *out, int64_t bytes)
{
    if (bytes % (1 << 20) == 0)
        px_buffer_printf(out, "%lld MiB", (long long)(bytes >> 20));
    else
        px_buffer_printf(out, "%lld bytes", (long long)bytes);
}

static void describe_network(struct px_buffer *out, const struct px_policy *policy)
{
    if (!policy->allowed_hosts.count) {
        px_buffer_add_string(out, policy->disable_networking ? " Network: none.\n" : " Network: the host's network.\n");
        return;
    }
    px_buffer_add_string(out, " Network: only https, and http on port 80, to these hosts: ");
    add_names(out, &policy->allowed_hosts);
    px_buffer_add_string(out, ". Use an HTTP client that follows the proxy variables, such as urllib.request, requests "
                              "or httpx (aiohttp: trust_env=True); sockets reach nothing else.\n");
}

static void describe_files(struct px_buffer *out, const struct px_policy *policy)
{
    if (policy->disable_open) {
        px_buffer_add_string(out, "Files: none, open() is refused.");
    } else if (policy->allow_readonly_open) {
        px_buffer_add_string(out, "Files: files in the working directory may be read; no file may be written.");
    } else {
        px_buffer_add_string(out, "Files: may be read and written in the working directory, up to ");
        add_size(out, policy->workspace_bytes);
        px_buffer_add_string(out, ".");
    }
    describe_network(out, policy);
}

static void describe_limits(struct px_buffer *out, const struct px_policy *policy)
{
    int64_t ms = policy->timeout_ms;
    px_buffer_printf(out, ms % 1000 ? "Limits: %lld ms of time" : "Limits: %lld s of time",
                     (long long)(ms % 1000 ? ms : ms / 1000));
    if (policy->cpu_time_seconds != PX_NONE)
        px_buffer_printf(out, ", %lld s of them CPU time", (long long)policy->cpu_time_seconds);
    if (policy->address_space_bytes != PX_NONE) {
        px_buffer_add_string(out, "; memory ");
        add_size(out, policy->address_space_bytes);
    }
    px_buffer_printf(out, "; %lld threads, no other processes; output %lld bytes.", (long long)policy->max_threads,
                     (long long)policy->max_stdout_bytes);
}

/* The tools of other MCP servers that scripts call: all of them, or how to find them. */
static void describe_clients(struct px_buffer *out, const struct px_mcp_call *call)
{
    pyexec_error error;
    px_auto_free char *stubs = NULL;
    struct px_clients *clients = call->caller.clients;
    if (!clients)
        return;
    px_clients_wait(clients, PX_MCP_CLIENTS_WAIT_MS);
    struct px_client_tools *tools = px_clients_tools(clients);
    if (!tools || (tools->count && pyexec_tools_stubs(tools->tools, 0, CLIENTS_STUBS_BYTES, &stubs, &error) < 0)) {
        out->failed = true;
    } else if (tools->count) {
        px_buffer_printf(
            out,
            "\nOne script can call many tools of other MCP servers, in loops and several at once, and only what it "
            "prints or returns comes back. Each server is a module that is already "
            "imported:\n%stools.search(\"words\") finds tools with their signatures, help(MODULE.NAME) describes "
            "one.\n\n",
            tools->names);
        px_buffer_add_string(out, stubs);
    }
    if (tools && *tools->problems)
        px_buffer_printf(out, "\nNot available now:\n%s", tools->problems);
    px_client_tools_drop(tools);
}

static void describe_run(struct px_buffer *out, const struct px_mcp_call *call)
{
    const struct px_policy *policy = call->caller.policy;
    const char *python = pyexec_executor_python(px_mcp_executor(call));
    bool value = policy->print_last_expression;
    px_buffer_printf(out,
                     "Runs Python %.*s code in an isolated process. Returns what it prints%s, and on failure "
                     "the error with a hint. Give session_id to keep variables and files for the next call.\n",
                     (int)strcspn(python, " "), python,
                     value ? " and the value of the last expression, which needs no print()" : "");
    if (policy->max_displays > 0)
        px_buffer_add_string(out,
                             "matplotlib figures and the arguments of display() come back as images and tables.\n");
    describe_imports(out, policy);
    describe_files(out, policy);
    describe_limits(out, policy);
    px_mcp_describe_environments(out, call);
    describe_clients(out, call);
}

static json_t *run_annotations(const struct px_mcp_call *call)
{
    return json_pack("{s:b, s:b, s:b, s:b}", "readOnlyHint", 0, "destructiveHint", 0, "idempotentHint", 0,
                     "openWorldHint",
                     !call->caller.policy->disable_networking || call->caller.policy->allowed_hosts.count);
}

/* Makes the schema of the result object, with the members that are always there. */
static json_t *result_schema(void)
{
    json_t *schema = px_result_schema(PX_OWNER_Result, NULL), *required = json_array();
    for (size_t i = 0; i < px_result_row_count; i++)
        if (px_result_rows[i].owner == PX_OWNER_Result)
            px_json_append(required, json_string(px_result_rows[i].key));
    /* A run that continues after the answer has an id instead of a result. */
    json_t *properties = json_object_get(schema, "properties");
    px_json_set(properties, "execution_id", json_pack("{s:s, s:s}", "type", "string", "description", "With detach."));
    px_json_set(properties, "session_id", json_pack("{s:[s, s]}", "type", "string", "null"));
    px_json_set(schema, "anyOf",
                json_pack("[{s:o}, {s:[s, s]}]", "required", required, "required", "execution_id", "session_id"));
    return schema;
}

/* run_python has an argument more where sessions keep states, and where there is an environment to choose. */
static json_t *input_schema(const struct px_mcp_call *call, const struct px_mcp_tool *tool)
{
    json_t *schema = px_json_loads(tool->input, 0, NULL), *properties = json_object_get(schema, "properties");
    if (!px_mcp_offers_undo(call->caller.policy))
        json_object_del(properties, PX_MCP_CHECKPOINT);
    if (!tool->description && !px_mcp_offers_environments(call))
        json_object_del(properties, "environment");
    return schema;
}

static json_t *describe_tool(const struct px_mcp_call *call, const struct px_mcp_tool *tool)
{
    px_auto_buffer struct px_buffer description = {0};
    json_t *annotations = tool->annotations ? px_json_loads(tool->annotations, 0, NULL) : run_annotations(call);
    if (tool->description)
        px_buffer_add_string(&description, tool->description);
    else
        describe_run(&description, call);
    json_t *made =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "name", tool->name, "title", tool->title, "description",
                  px_buffer_string(&description), "inputSchema", input_schema(call, tool), "outputSchema",
                  tool->output ? px_json_loads(tool->output, 0, NULL) : result_schema(), "annotations", annotations);
    if (made && tool->slow && px_mcp_has_legacy_tasks(call))
        px_json_set(made, "execution", json_pack("{s:s}", "taskSupport", "optional"));
    return made;
}

json_t *px_mcp_tool_list(const struct px_mcp_call *call)
{
    json_t *list = json_array();
    for (size_t i = 0; i < px_mcp_tool_count; i++)
        if ((!px_mcp_tools[i].offered || px_mcp_tools[i].offered(call->caller.policy)) &&
            json_array_append_new(list, describe_tool(call, &px_mcp_tools[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}
