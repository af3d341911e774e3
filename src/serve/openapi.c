/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/openapi.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "policy/fields.h"
#include "policy/tools.h"
#include "result/result_rows.h"
#include "serve/server.h"

#define SCHEMAS "#/components/schemas/"

static json_t *reference(const char *name)
{
    return json_sprintf(SCHEMAS "%s", name);
}

static json_t *schema_of(const char *name)
{
    return json_pack("{s:o}", "$ref", reference(name));
}

/* ---- Schemas ---- */

static json_t *nullable(const char *type)
{
    return json_pack("{s:[s,s]}", "type", type, "null");
}

static json_t *field_schema(const struct px_field *field)
{
    const char *type = field->kind->shape == PX_SHAPE_BOOLEAN   ? "boolean"
                       : field->kind->shape == PX_SHAPE_NUMBER  ? "integer"
                       : field->kind->shape == PX_SHAPE_STRINGS ? "array"
                                                                : "string";
    json_t *schema = field->info.nullable ? nullable(type) : json_pack("{s:s}", "type", type);
    px_json_set(schema, "description", json_string(field->info.meaning));
    if (field->kind->shape == PX_SHAPE_STRINGS)
        px_json_set(schema, "items", json_pack("{s:s}", "type", "string"));
    if (field->kind->shape == PX_SHAPE_NUMBER && field->info.maximum) {
        px_json_set(schema, "minimum", json_integer(field->info.minimum));
        px_json_set(schema, "maximum", json_integer(field->info.maximum));
    }
    return schema;
}

static json_t *policy_schema(const struct px_policy *policy)
{
    json_t *properties = json_object();
    px_auto_json json_t *defaults = px_policy_to_json(policy);
    for (size_t i = 0; i < px_policy_table.count; i++) {
        const char *name = px_policy_table.fields[i].info.name;
        json_t *schema = field_schema(&px_policy_table.fields[i]);
        px_json_set(schema, "default", json_incref(json_object_get(defaults, name)));
        px_json_set(properties, name, schema);
    }
    return json_pack("{s:s, s:s, s:b, s:o}", "type", "object", "description",
                     "A part of the policy. Its keys override those of the server's policy, up to the caller's "
                     "ceiling.",
                     "additionalProperties", 0, "properties", properties);
}

/* Each member is "name:type description". The type is a JSON type, or '#' and the name of a schema; '?' after it
 * means that the value may be null. */
static json_t *object_schema(const char *const *members, size_t count, bool closed)
{
    json_t *properties = json_object();
    for (size_t i = 0; i < count; i++) {
        char name[64], type[64];
        int used = 0;
        if (sscanf(members[i], "%63[^:]:%63s %n", name, type, &used) < 2)
            continue;
        size_t length = strlen(type);
        bool null = type[length - 1] == '?', list = type[0] == '[';
        if (null)
            type[length - 1] = '\0';
        json_t *schema = type[list] == '#'          ? schema_of(type + list + 1)
                         : strcmp(type, "any") == 0 ? json_object()
                         : null                     ? nullable(type)
                                                    : json_pack("{s:s}", "type", type + list);
        if (list)
            schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
        else if (type[0] == '#' && null)
            schema = json_pack("{s:[o, {s:s}]}", "anyOf", schema, "type", "null");
        if (members[i][used])
            px_json_set(schema, "description", json_string(members[i] + used));
        px_json_set(properties, name, schema);
    }
    json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (closed)
        px_json_set(schema, "additionalProperties", json_false());
    return schema;
}

static void add_object(json_t *schemas, const char *name, const char *const *members, size_t count, bool closed,
                       const char *required)
{
    json_t *schema = object_schema(members, count, closed);
    if (required)
        px_json_set(schema, "required", json_pack("[s]", required));
    px_json_set(schemas, name, schema);
}

#define PACKAGES_MEMBER \
    "packages:[string Packages that the script may import, with versions if wanted. The operator says which ones are allowed. A session " \
    "keeps those with which it was made."
#define PX_REQUEST_ANY(text) text,
#define PX_REQUEST_LOCAL(text)
static const char *const request_members[] = {
#define PX_REQUEST(key, take, type, callers, meaning) PX_REQUEST_##callers(#key ":" type " " meaning)
#include "policy/request.def"
#undef PX_REQUEST
    /* The brackets tell clang that no comma is missing. */
    ("tools:[#Tool Functions of the client that the script can call. The answer must be events, or detach must be "
     "true."),
    PACKAGES_MEMBER,
    "detach:boolean True: answers at once with an execution_id, and the execution continues without its client.",
    "control:boolean True, with events: the first event has a run_id, by which the client interrupts or cancels the run and "
    "sends its standard input, unless `stdin` is given."};
static const char *const taken_members[] = {"taken:integer How many bytes of the input were taken."};
static const char *const detached_members[] = {"execution_id:string", "session_id:string?"};
static const char *const execution_members[] = {"execution_id:string",
                                                "session_id:string?",
                                                "state:string waiting, running or ended.",
                                                "created_at:string",
                                                "started_at:string?",
                                                "ended_at:string?",
                                                "calls:[#WaitingCall Tool calls that wait for an answer.",
                                                "result:#Result? Null until it has ended.",
                                                "error:#Problem? Why there is no result, or null."};
static const char *const attached_members[] = {"session_id:string? Null for a single run.", "calls:[#WaitingCall"};
static const char *const executions_members[] = {"executions:[#Execution The detached executions.",
                                                 "attached:[#Attached Other executions that have tool calls "
                                                 "without an answer."};
static const char *const waiting_call_members[] = {"call_id:string", "name:string", "arguments:any", "since:string",
                                                   "approval:boolean It is held until it is allowed or denied."};
static const char *const tool_members[] = {
    "name:string A Python identifier.", "description:string", "parameters:object The JSON Schema of an object.",
    "returns:object A JSON Schema.", "approval:boolean True: each call is held until it is allowed or denied."};
static const char *const call_answer_members[] = {"result:any", "error:#CallError", "deny:string The reason.",
                                                  "allow:boolean True, for a call that is held."};
static const char *const call_error_members[] = {"message:string", "data:any"};
static const char *const session_request_members[] = {
    "id:string 1 to 128 of A-Z a-z 0-9 . _ : -; chosen by the server when left out.", "policy:#Policy", "tools:[#Tool",
    PACKAGES_MEMBER};
static const char *const fork_request_members[] = {"ids:[string The ids of the new sessions.",
                                                   "count:integer How many, if ids is left out; 1 if both are."};
static const char *const forked_members[] = {"sessions:[string The ids of the new sessions.",
                                             "pause_ms:number How long the session stood still."};
static const char *const undo_request_members[] = {
    "to:integer The execution count of the call; the last one for which a state is kept if it is left out."};
static const char *const undone_members[] = {
    "to:integer The execution count of the call before which the session is again.",
    "checkpoints:[integer The execution counts for which states are still kept.", "pause_ms:number How long it took."};
static const char *const verify_request_members[] = {
    "solution:string The code that is tested.",
    "tests:[#Test 1 to 10,000 tests.",
    "compare:any \"exact\", \"tokens\", or an object with rel or abs: how answers are compared.",
    "stop_on_fail:boolean True: the tests after the first one that does not pass are skipped.",
    "each:#Policy Limits of each test.",
    "output_bytes:integer How much of each text the answer shows for a test.",
    "policy:#Policy",
    "timeout_ms:integer",
    "working_dir:string",
    "env:#Environment",
    "files:#Files"};
static const char *const test_members[] = {
    "stdin:string", "expect_stdout:string", "call:string f, module.f or Solution().f.", "args:array", "kwargs:object",
    "expect:any",   "code:string"};
static const char *const verified_members[] = {
    "passed:boolean True if all tests pass.", "summary:object The number of tests, and of each verdict.",
    "solution:#VerifiedRun? The run of the solution itself.", "tests:[#TestResult"};
#define VERIFIED_RUN \
    "exit_code:integer?", "stdout:string", "stdout_truncated:boolean", "stdout_bytes:integer", "stderr:string", \
        "stderr_truncated:boolean", "stderr_bytes:integer", "error:#Error?", "usage:#Usage?"
static const char *const verified_run_members[] = {"status:string", VERIFIED_RUN};
static const char *const test_result_members[] = {
    "index:integer",
    "kind:string stdin, call or code.",
    "verdict:string pass, wrong, error, timeout, cpu_limit, memory_limit, killed, crashed, cancelled or skipped.",
    "claim:boolean True: only the script's process says that it passed.",
    "value:any",
    "value_truncated:boolean",
    VERIFIED_RUN};
static const char *const sessions_members[] = {"sessions:[#Session"};
static const char *const environments_members[] = {"environments:[#PackageEnvironment"};
static const char *const environment_members[] = {
    "name:string For `environment` of a policy.",
    "hash:string Another set of packages has another hash.",
    "created:string",
    "python:string The interpreter's version.",
    "requirements:[string",
    "packages:array Name and version of each.",
    "imports:[string Modules that scripts may import.",
    "limits:object Limits with which the packages work: defaults of runs in this environment.",
    "preload:[string Modules that are imported before a run begins.",
    "error:string Why it can't be used. Then only name, error and hint are there.",
    "hint:string"};
static const char *const file_list_members[] = {"files:[#File"};
static const char *const problem_members[] = {"type:string", "title:string", "status:integer", "code:string",
                                              "hint:string What to do."};

#define ID_PATTERN "^[A-Za-z0-9._:-]{1,128}$"

static json_t *property(json_t *schemas, const char *schema, const char *name)
{
    return json_object_get(json_object_get(json_object_get(schemas, schema), "properties"), name);
}

/* Adds limits that the short descriptions can't express. */
static void add_bounds(json_t *schemas)
{
    json_t *timeout = property(schemas, "ExecuteRequest", "timeout_ms");
    json_t *policy = property(schemas, "Policy", "timeout_ms");
    px_json_set(timeout, "minimum", json_incref(json_object_get(policy, "minimum")));
    px_json_set(timeout, "maximum", json_incref(json_object_get(policy, "maximum")));
    px_json_set(property(schemas, "ExecuteRequest", "value_json"), "enum", json_pack("[s, s, n]", "records", "split"));
    px_json_set(property(schemas, "ExecuteRequest", "tools"), "maxItems", json_integer(PX_TOOLS_MAX));
    px_json_set(json_object_get(schemas, "CallAnswer"), "minProperties", json_integer(1));
    px_json_set(json_object_get(schemas, "CallAnswer"), "maxProperties", json_integer(1));
    px_json_set(property(schemas, "SessionRequest", "id"), "pattern", json_string(ID_PATTERN));
    json_t *ids = property(schemas, "ForkRequest", "ids"), *count = property(schemas, "ForkRequest", "count");
    px_json_set(json_object_get(ids, "items"), "pattern", json_string(ID_PATTERN));
    px_json_set(ids, "minItems", json_integer(1));
    px_json_set(ids, "maxItems", json_integer(1000));
    px_json_set(count, "minimum", json_integer(1));
    px_json_set(count, "maximum", json_integer(1000));
    px_json_set(json_object_get(schemas, "ForkRequest"), "maxProperties", json_integer(1));
}

/* Adds the schemas of the objects in result.def. */
static void add_result_schemas(json_t *schemas)
{
    static const struct {
        enum px_result_owner owner;
        const char *name, *required;
    } objects[] = {
        {PX_OWNER_Result, "Result", "status"},   {PX_OWNER_Error, "Error", NULL},
        {PX_OWNER_Display, "Display", "data"},   {PX_OWNER_ChangedFile, "ChangedFile", NULL},
        {PX_OWNER_Denial, "Denial", NULL},       {PX_OWNER_Usage, "Usage", NULL},
        {PX_OWNER_ToolUsage, "ToolUsage", NULL}, {PX_OWNER_SessionOfResult, "SessionOfResult", NULL},
        {PX_OWNER_Restored, "Restored", NULL},   {PX_OWNER_File, "File", "path"},
        {PX_OWNER_Session, "Session", "id"},     {PX_OWNER_EnvironmentOfResult, "EnvironmentOfResult", NULL},
    };
    for (size_t i = 0; i < PX_COUNT(objects); i++) {
        json_t *schema = px_result_schema(objects[i].owner, SCHEMAS);
        if (objects[i].required)
            px_json_set(schema, "required", json_pack("[s]", objects[i].required));
        px_json_set(schemas, objects[i].name, schema);
    }
    /* A caller sees only its own sessions, so their principal is left out. */
    json_t *session = json_object_get(json_object_get(schemas, "Session"), "properties");
    px_auto_json json_t *details = px_result_schema(PX_OWNER_SessionDetails, SCHEMAS);
    json_object_del(session, "principal");
    px_json_merge(session, json_incref(json_object_get(details, "properties")));
}

static json_t *make_schemas(const struct px_policy *policy)
{
    json_t *schemas = json_pack(
        "{s:o, s:{s:s, s:s, s:{s:s}}, s:{s:s, s:{s:s}}, s:{s:s, s:{s:[{s:s},{s:s, s:{s:{s:s}}, s:b, s:[s]}]}}}",
        "Policy", policy_schema(policy), "Inputs", "type", "object", "description",
        "Variable name to JSON value: set before the code runs.", "propertyNames", "pattern",
        "^[A-Za-z_][A-Za-z0-9_]*$", "Environment", "type", "object", "additionalProperties", "type", "string", "Files",
        "type", "object", "additionalProperties", "anyOf", "type", "string", "type", "object", "properties", "base64",
        "type", "string", "additionalProperties", 0, "required", "base64");
#define ADD(name, members, closed, required) add_object(schemas, name, members, PX_COUNT(members), closed, required)
    ADD("ExecuteRequest", request_members, true, "code");
    ADD("Tool", tool_members, true, "name");
    ADD("Detached", detached_members, false, "execution_id");
    ADD("Execution", execution_members, false, "execution_id");
    ADD("Attached", attached_members, false, "session_id");
    ADD("Executions", executions_members, false, "executions");
    ADD("WaitingCall", waiting_call_members, false, "call_id");
    ADD("InputTaken", taken_members, false, NULL);
    ADD("CallAnswer", call_answer_members, true, NULL);
    ADD("CallError", call_error_members, true, "message");
    ADD("SessionRequest", session_request_members, true, NULL);
    ADD("ForkRequest", fork_request_members, true, NULL);
    ADD("Forked", forked_members, false, "sessions");
    ADD("UndoRequest", undo_request_members, true, NULL);
    ADD("Undone", undone_members, false, "to");
    ADD("VerifyRequest", verify_request_members, true, "solution");
    ADD("Test", test_members, true, NULL);
    ADD("Verified", verified_members, false, "tests");
    ADD("VerifiedRun", verified_run_members, false, "status");
    ADD("TestResult", test_result_members, false, "verdict");
    ADD("Sessions", sessions_members, false, "sessions");
    ADD("Environments", environments_members, false, "environments");
    ADD("PackageEnvironment", environment_members, false, "name");
    ADD("FileList", file_list_members, false, "files");
    ADD("Problem", problem_members, false, "code");
#undef ADD
    add_result_schemas(schemas);
    add_bounds(schemas);
    return schemas;
}

/* ---- Paths ---- */

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *bytes_schema(void)
{
    return json_pack("{s:s, s:s}", "type", "string", "format", "binary");
}

static json_t *response(const char *description, json_t *body)
{
    json_t *object = json_pack("{s:s}", "description", description);
    if (body)
        px_json_set(object, "content", body);
    return object;
}

/* An error of JSON-RPC once the message has been read, and an error of HTTP before that. */
static json_t *rpc_error(const char *description)
{
    json_t *body = content("application/json", json_pack("{s:s}", "type", "object"));
    px_json_merge(body, content("application/problem+json", schema_of("Problem")));
    return response(description, body);
}

/* Adds the answer of the route on success. */
static void add_success(json_t *responses, const struct px_route *route)
{
    const char *name = route->name;
    json_t *body = NULL;
    const char *status = "200", *text = "Done.";
    if (route->runs) {
        text = "The result, also if the script failed.";
        body = content("application/json", schema_of("Result"));
        px_json_set(body, "text/event-stream", json_pack("{s:{s:s}}", "schema", "type", "string"));
        px_json_set(responses, "202",
                    response("The execution continues without its client.",
                             content("application/json", schema_of("Detached"))));
    } else if (strcmp(name, "execution_list") == 0) {
        text = "The executions, without results.";
        body = content("application/json", schema_of("Executions"));
    } else if (strcmp(name, "execution_get") == 0) {
        text = "Its state, and its result when it has ended.";
        body = content("application/json", schema_of("Execution"));
        px_json_set(body, "text/event-stream", json_pack("{s:{s:s}}", "schema", "type", "string"));
    } else if (strcmp(name, "session_create") == 0 || strcmp(name, "session_get") == 0) {
        status = strcmp(name, "session_get") == 0 ? "200" : "201";
        text = "The session.";
        body = content("application/json", schema_of("Session"));
    } else if (strcmp(name, "session_fork") == 0) {
        status = "201";
        text = "The new sessions.";
        body = content("application/json", schema_of("Forked"));
    } else if (strcmp(name, "session_undo") == 0 || strcmp(name, "session_reset") == 0) {
        text = "The state in which the session is.";
        body = content("application/json", schema_of("Undone"));
    } else if (strcmp(name, "verify") == 0) {
        text = "The verdicts, also if the solution failed.";
        body = content("application/json", schema_of("Verified"));
    } else if (strcmp(name, "session_list") == 0) {
        text = "The sessions.";
        body = content("application/json", schema_of("Sessions"));
    } else if (strcmp(name, "environment_list") == 0) {
        text = "The environments.";
        body = content("application/json", schema_of("Environments"));
    } else if (strcmp(name, "file_list") == 0) {
        text = "The files.";
        body = content("application/json", schema_of("FileList"));
        px_json_set(body, "application/x-tar", json_pack("{s:o}", "schema", bytes_schema()));
    } else if (strcmp(name, "file_get") == 0) {
        text = "The bytes.";
        body = content("application/octet-stream", bytes_schema());
        px_json_set(responses, "206", response("The range.", content("application/octet-stream", bytes_schema())));
    } else if (strcmp(name, "mcp") == 0) {
        text = "The JSON-RPC answer, as events when progress is asked for.";
        body = content("application/json", json_pack("{s:s}", "type", "object"));
        px_json_set(body, "text/event-stream", json_pack("{s:{s:s}}", "schema", "type", "string"));
        px_json_set(responses, "202", response("A notification was taken.", NULL));
        px_json_set(responses, "400", rpc_error("The body is not a message, or the headers do not match it."));
        px_json_set(responses, "404", rpc_error("No such method (revision 2026-07-28)."));
    } else if (strcmp(name, "run_input") == 0) {
        text = "How much was taken. The script reads slowly if it is less than what was sent: send the rest later.";
        body = content("application/json", schema_of("InputTaken"));
    } else if (strcmp(name, "openapi") == 0) {
        text = "The document.";
        body = content("application/json", json_pack("{s:s}", "type", "object"));
    } else if (route->open || strcmp(name, "metrics") == 0) {
        text = "As text.";
        body = content("text/plain", json_pack("{s:s}", "type", "string"));
    } else {
        status = "204";
    }
    px_json_set(responses, status, response(text, body));
}

static json_t *parameters(const struct px_route *route)
{
    json_t *list = json_array();
    static const char *const names[] = {"id", "path", "call_id", "run_id"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        char part[16];
        snprintf(part, sizeof part, "{%s}", names[i]);
        if (!strstr(route->path, part))
            continue;
        json_t *schema = json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
        if (i == 0)
            px_json_set(schema, "pattern", json_string(ID_PATTERN));
        px_json_append(
            list, json_pack("{s:s, s:s, s:b, s:o}", "name", names[i], "in", "path", "required", 1, "schema", schema));
    }
    if (strcmp(route->name, "execution_get") == 0) {
        px_json_append(list, json_pack("{s:s, s:s, s:{s:s, s:i, s:i}}", "name", "wait_ms", "in", "query", "schema",
                                       "type", "integer", "minimum", 0, "maximum", 300000));
        px_json_append(list, json_pack("{s:s, s:s, s:{s:s, s:s}}", "name", "Last-Event-ID", "in", "header", "schema",
                                       "type", "string", "pattern", "^[0-9]{1,18}$"));
    }
    return list;
}

static json_t *body_of(const struct px_route *route)
{
    if (route->body == PX_BODY_FILE) {
        bool one = strstr(route->path, "{path}"); /* an empty file has no body */
        return json_pack("{s:b, s:o}", "required", !one, "content",
                         content(one ? "application/octet-stream" : "application/x-tar", bytes_schema()));
    }
    if (strcmp(route->name, "run_input") == 0)
        return json_pack("{s:b, s:o}", "required", 0, "content", content("application/octet-stream", bytes_schema()));
    if (strcmp(route->name, "mcp") == 0)
        return json_pack("{s:b, s:o}", "required", 1, "content",
                         content("application/json", json_pack("{s:s}", "type", "object")));
    static const struct {
        const char *route, *schema;
        bool required;
    } bodies[] = {{"session_create", "SessionRequest", false},
                  {"session_fork", "ForkRequest", false},
                  {"session_undo", "UndoRequest", false},
                  {"verify", "VerifyRequest", true},
                  {"call_answer", "CallAnswer", true}};
    const char *schema = "ExecuteRequest";
    bool required = true;
    for (size_t i = 0; i < PX_COUNT(bodies); i++)
        if (strcmp(route->name, bodies[i].route) == 0) {
            schema = bodies[i].schema;
            required = bodies[i].required;
        }
    return json_pack("{s:b, s:o}", "required", required, "content", content("application/json", schema_of(schema)));
}

static json_t *operation(const struct px_route *route)
{
    json_t *responses = json_object();
    add_success(responses, route);
    static const char *const failures[] = {"4XX", "5XX"};
    for (size_t i = 0; i < PX_COUNT(failures); i++) {
        json_t *body = content("application/problem+json", schema_of("Problem"));
        if (strcmp(route->path, "/mcp") == 0) /* MCP's own errors are JSON-RPC errors */
            px_json_set(body, "application/json", json_pack("{s:{s:s}}", "schema", "type", "object"));
        px_json_set(responses, failures[i], response("The request failed; code and hint say why.", body));
    }
    json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "operationId", route->name, "summary", route->summary,
                               "parameters", parameters(route), "responses", responses);
    const char *tag = route->runs || route->late || strcmp(route->name, "verify") == 0 ? "runs"
                      : strstr(route->path, "/files")                                  ? "files"
                      : strstr(route->path, "/sessions")                               ? "sessions"
                                                                                       : "server";
    px_json_set(object, "tags", json_pack("[s]", tag));
    bool takes_body = route->body == PX_BODY_JSON || route->body == PX_BODY_FILE;
    if (takes_body && strcmp(route->name, "session_reset") != 0) /* it reads a body only to refuse its members */
        px_json_set(object, "requestBody", body_of(route));
    if (route->open)
        px_json_set(object, "security", json_array());
    return object;
}

char *px_openapi_make(const struct px_policy *policy)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < px_route_count; i++) {
        if (px_routes[i].dialects) /* APIs of other projects, which describe them */
            continue;
        char method[8] = "";
        if (px_routes[i].page || px_routes[i].fleet)
            continue;
        for (size_t at = 0; px_routes[i].method[at] && at < sizeof method - 1; at++)
            method[at] = (char)(px_routes[i].method[at] | 0x20);
        json_t *path = json_object_get(paths, px_routes[i].path);
        if (!path) {
            path = json_object();
            px_json_set(paths, px_routes[i].path, path);
        }
        px_json_set(path, method, operation(&px_routes[i]));
    }
    return px_json_take_text(json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}],"
        " s:[{s:[]}], s:o, s:{s:o, s:{s:{s:s, s:s}}}}",
        "openapi", "3.1.0", "info", "title", "pyexec", "version", pyexec_version(), "description",
        "Runs Python that nobody has reviewed, in fresh isolated processes and in sessions.", "license", "name",
        "Apache-2.0", "identifier", "Apache-2.0", "servers", "url", "/", "tags", "name", "runs", "description",
        "Code that runs.", "name", "sessions", "description", "State that stays between calls.", "name", "files",
        "description", "A session's workspace.", "name", "server", "description", "Probes and metrics.", "security",
        "token", "paths", paths, "components", "schemas", make_schemas(policy), "securitySchemes", "token", "type",
        "http", "scheme", "bearer"));
}
