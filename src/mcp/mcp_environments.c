/* SPDX-License-Identifier: Apache-2.0 */
/* Environments for a model: which packages there are, in the description of run_python and as a resource, and its argument
 * `environment`. */
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "jsonrpc/json_diagnose.h"
#include "mcp/mcp_private.h"

#define RESOURCE "pyexec://environments"
/* More would fill the model's context. The resource has all. */
#define DESCRIBED_ENVIRONMENTS 8u
#define DESCRIBED_BYTES 400u

/* The environments that the caller may choose; an empty list also when they can't be read. */
static json_t *choices(const struct px_mcp_call *call)
{
    pyexec_error ignored;
    json_t *list;
    return pyexec_environments_object(px_mcp_executor(call), call->caller.ceiling, &list, &ignored) == 0 ? list
                                                                                                         : json_array();
}

static const char *member(const json_t *environment, const char *key)
{
    const char *text = json_string_value(json_object_get(environment, key));
    return text ? text : "";
}

/* What was asked for when the environment was made: "pandas>=2, matplotlib". */
static void add_packages(struct px_buffer *out, const json_t *environment)
{
    const json_t *list = json_object_get(environment, "requirements"), *item;
    size_t i, start = out->length;
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(item);
        if (out->length - start + strlen(text ? text : "") > DESCRIBED_BYTES) {
            px_buffer_printf(out, " and %zu more", json_array_size(list) - i);
            return;
        }
        px_buffer_printf(out, "%s%s", i ? ", " : "", text ? text : "");
    }
}

void px_mcp_describe_environments(struct px_buffer *out, const struct px_mcp_call *call)
{
    px_auto_json json_t *list = choices(call);
    const char *own = call->caller.policy->environment;
    const json_t *item;
    size_t i, count = 0;
    json_array_foreach(list, i, item) {
        const char *name = member(item, "name");
        bool used = strcmp(name, own) == 0;
        if (json_object_get(item, "error") || count++ >= DESCRIBED_ENVIRONMENTS)
            continue;
        px_buffer_add_string(out, used ? "\nThe environment '" : "\nWith environment '");
        px_buffer_printf(out, "%s'%s these packages can be imported too: ", name, used ? " is used:" : ":");
        add_packages(out, item);
        px_buffer_add_byte(out, '.');
    }
    if (count > DESCRIBED_ENVIRONMENTS)
        px_buffer_printf(out, "\nThere are %zu more environments: read the resource " RESOURCE ".",
                         count - DESCRIBED_ENVIRONMENTS);
}

bool px_mcp_offers_environments(const struct px_mcp_call *call)
{
    px_auto_json json_t *list = choices(call);
    return json_array_size(list) > 0;
}

int px_mcp_take_environment(json_t *arguments, bool session, pyexec_error *error)
{
    json_t *name = json_object_get(arguments, "environment");
    if (!name)
        return 0;
    json_t *policy = json_pack("{s:O}", "environment", name);
    json_object_del(arguments, "environment");
    px_json_set(arguments, session ? "session_policy" : "policy", policy);
    return policy ? 0 : px_error_oom(error);
}

/* ---- The resource ---- */

static json_t *resource(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "uri", RESOURCE, "name", "environments", "title", "Environments",
                     "description", "The environments for run_python, with their packages and versions.", "mimeType",
                     "application/json");
}

/* Without environments this server has no resources, and none of their methods. */
static bool has_resources(struct px_mcp_call *call)
{
    if (px_mcp_offers_environments(call))
        return true;
    px_mcp_refuse(call, PX_RPC_METHOD_NOT_FOUND, "Method not found: %.100s", call->method);
    return false;
}

void px_mcp_list_resources(struct px_mcp_call *call)
{
    if (has_resources(call))
        px_mcp_answer_fresh(call, json_pack("{s:[o]}", "resources", resource()));
}

void px_mcp_list_resource_templates(struct px_mcp_call *call)
{
    if (has_resources(call))
        px_mcp_answer_fresh(call, json_pack("{s:[]}", "resourceTemplates"));
}

void px_mcp_read_resource(struct px_mcp_call *call)
{
    const char *uri = json_string_value(json_object_get(call->params, "uri"));
    if (!has_resources(call))
        return;
    if (!uri || strcmp(uri, RESOURCE) != 0) {
        px_mcp_refuse(call, uri && !call->modern ? PX_MCP_NO_RESOURCE : PX_RPC_INVALID_PARAMS,
                      uri ? "There is no resource %.200s" : "resources/read: uri must be a string", uri);
        return;
    }
    json_t *list = json_pack("{s:o}", "environments", choices(call));
    px_auto_free char *text = px_json_take_text(list);
    px_mcp_answer_fresh(call, text ? json_pack("{s:[{s:s, s:s, s:s}]}", "contents", "uri", RESOURCE, "mimeType",
                                               "application/json", "text", text)
                                   : NULL);
}
