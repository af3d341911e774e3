/* SPDX-License-Identifier: Apache-2.0 */
/* The tools: what each accepts, does and returns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/spelling.h"
#include "base/utf8.h"
#include "mcp/mcp_private.h"

#define MCP_READ_MAX (8u << 20) /* limit for reading a file; files that come with a result have the same limit */

/* ---- Arguments ---- */

static const char *argument(json_t *arguments, const char *name)
{
    return json_string_value(json_object_get(arguments, name));
}

char *px_mcp_session_key(const struct px_mcp_call *call, json_t *arguments)
{
    const char *id = argument(arguments, "session_id");
    char *key = NULL;
    return id && asprintf(&key, "%s%s", call->caller.prefix, id) >= 0 ? key : NULL;
}

static int wrong_type(const char *name, const char *wanted, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not %s", name, wanted);
    return px_error_hint(error, "Send %s as %s.", name, wanted);
}

static int check_type(const char *name, const json_t *value, const char *type, pyexec_error *error)
{
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value) ? 0 : wrong_type(name, "an integer", error);
    if (strcmp(type, "object") == 0)
        return json_is_object(value) ? 0 : wrong_type(name, "an object", error);
    if (strcmp(type, "array") == 0)
        return json_is_array(value) ? 0 : wrong_type(name, "a list", error);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value) ? 0 : wrong_type(name, "true or false", error);
    if (!json_is_string(value))
        return wrong_type(name, "a string", error);
    /* Most arguments are used as C strings, so they must not contain a NUL. Only code and contents of files may. */
    bool cut = strlen(json_string_value(value)) != json_string_length(value);
    if (cut && (strcmp(name, "session_id") == 0 || strcmp(name, "path") == 0 || strcmp(name, "execution_id") == 0))
        return wrong_type(name, "a string without NUL", error);
    return 0;
}

static int unknown_argument(const struct px_mcp_tool *tool, json_t *properties, const char *name, pyexec_error *error)
{
    struct px_spelling nearest = {.wanted = name};
    const char *key;
    json_t *value;
    json_object_foreach(properties, key, value)
        px_spelling_offer(&nearest, key);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s takes no argument '%.100s'", tool->name, name);
    if (strcmp(name, "packages") == 0)
        return px_error_hint(
            error, "Nothing can be installed from here. The argument `environment`, if the tool has it, chooses "
                   "packages that are there.");
    if (nearest.best)
        return px_error_hint(error, "Did you mean '%s'?", nearest.best);
    return px_error_hint(error, "Leave it out; tools/list has the tool's arguments.");
}

int px_mcp_check_arguments(const struct px_mcp_tool *tool, json_t *arguments, pyexec_error *error)
{
    px_auto_json json_t *schema = px_json_loads(tool->input, 0, NULL);
    json_t *properties = json_object_get(schema, "properties"), *value;
    const char *name;
    size_t i;
    if (!schema || !arguments)
        return px_error_oom(error);
    json_object_foreach(arguments, name, value) {
        const char *type = json_string_value(json_object_get(json_object_get(properties, name), "type"));
        if (!type)
            return unknown_argument(tool, properties, name, error);
        if (check_type(name, value, type, error) < 0)
            return -1;
    }
    json_array_foreach(json_object_get(schema, "required"), i, value)
        if (!json_object_get(arguments, json_string_value(value))) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: missing", json_string_value(value));
            return px_error_hint(error, "%s needs it.", tool->name);
        }
    return 0;
}

/* ---- run_python ---- */

/* Offers the tools of other servers. Waits for servers that are still starting. */
static int offer_tools(struct px_mcp_call *call, pyexec_error *error)
{
    if (!call->caller.clients)
        return 0;
    px_clients_wait(call->caller.clients, PX_MCP_CLIENTS_WAIT_MS);
    call->tools = px_clients_tools(call->caller.clients);
    if (!call->tools)
        return px_error_oom(error);
    pyexec_request_set_tools(call->request, call->tools->tools);
    return pyexec_request_set_approver(call->request, px_mcp_approve, call, error);
}

/* Takes the caller's span from _meta, or else from the headers of the transport. In a relayed message the headers have the span of
 * the gateway or node, which is below the span in _meta, so there the headers come first. */
static int take_trace(struct px_mcp_call *call, pyexec_error *error)
{
    bool relayed = call->caller.relayed && call->caller.traceparent;
    const json_t *meta = relayed ? NULL : json_object_get(call->params, "_meta");
    const char *traceparent = json_string_value(json_object_get(meta, "traceparent"));
    const char *tracestate = json_string_value(json_object_get(meta, "tracestate"));
    if (!traceparent || pyexec_request_set_traceparent(call->request, traceparent, tracestate) < 0)
        pyexec_request_set_traceparent(call->request, call->caller.traceparent, call->caller.tracestate);
    if (!pyexec_executor_has_tracing(px_mcp_executor(call)))
        return 0;
    px_auto_json json_t *attributes =
        json_pack("{s:s, s:s, s:s, s:s?}", "mcp.method.name", "tools/call", "gen_ai.operation.name", "execute_tool",
                  "gen_ai.tool.name", call->tool->name, "pyexec.principal", call->caller.principal);
    px_auto_buffer struct px_buffer name = {0};
    px_buffer_printf(&name, "tools/call %s", call->tool->name);
    return attributes && px_buffer_ok(&name) &&
                   pyexec_request_set_span_object(call->request, px_buffer_string(&name), PYEXEC_SPAN_SERVER, NULL,
                                                  attributes) == 0
               ? 0
               : px_error_oom(error);
}

static int make_request(struct px_mcp_call *call, json_t *arguments, pyexec_error *error)
{
    if (!call->request)
        return px_error_exhausted(error, EMFILE, "can't make the request's descriptor");
    bool session = json_object_get(arguments, "session_id");
    json_object_del(arguments, "session_id");
    json_object_del(arguments, "detach");
    if (px_mcp_take_environment(arguments, session, error) < 0 ||
        pyexec_request_set_object(call->request, arguments, error) < 0)
        return -1;
    pyexec_request_set_ceiling_object(call->request, call->caller.ceiling);
    if (pyexec_request_set_secrets(call->request, call->caller.secrets) < 0)
        return px_error_oom(error);
    return take_trace(call, error);
}

int px_mcp_run(struct px_mcp_call *call, const char *key, pyexec_result **ret, pyexec_error *error)
{
    pyexec_executor *executor = px_mcp_executor(call);
    if (offer_tools(call, error) < 0)
        return -1;
    px_mcp_begin(call);
    int status = key ? pyexec_execute(executor, key, call->request, ret, error)
                     : pyexec_execute_once(executor, call->request, ret, error);
    px_mcp_end(call);
    return status;
}

static void answer_result(struct px_mcp_call *call, pyexec_result *result)
{
    const char *text = pyexec_result_json(result);
    json_t *content = text ? px_mcp_content(result) : NULL;
    px_mcp_answer_tool(call, content, text, pyexec_result_status(result) != PYEXEC_STATUS_OK);
}

static void run_python(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    bool session = json_object_get(arguments, "session_id");
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    const json_t *code = json_object_get(arguments, "code");
    bool detaches = px_mcp_detaches(call);
    int status = session && !key ? px_error_oom(&error) : make_request(call, arguments, &error);
    if (status == 0 && call->caller.runs)
        status = call->caller.runs(call->caller.closure, call->request, json_string_value(code),
                                   json_string_length(code), &error);
    if (status == 0 && detaches) {
        px_mcp_detach(call, key);
        return;
    }
    if (status == 0)
        status = px_mcp_run(call, key, &result, &error);
    if (call->caller.ran && call->request && pyexec_request_was_sent(call->request))
        call->caller.ran(call->caller.closure, result, &error);
    if (status < 0)
        px_mcp_fail(call, &error);
    else
        answer_result(call, result);
    pyexec_result_free(result);
}

/* ---- Sessions ---- */

void px_mcp_answer_note(struct px_mcp_call *call, const char *structured, const char *note)
{
    json_t *content = structured && note ? px_mcp_text(note, strlen(note)) : NULL;
    px_mcp_answer_tool(call, content ? json_pack("[o]", content) : NULL, structured, false);
}

void px_mcp_answer_object(struct px_mcp_call *call, json_t *structured, const char *note)
{
    px_auto_free char *json = px_json_take_text(structured);
    px_mcp_answer_note(call, json, note);
}

static void interrupt(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    if (!key)
        px_error_oom(&error);
    if (!key || pyexec_session_interrupt(px_mcp_executor(call), key, &error) < 0)
        px_mcp_fail(call, &error);
    else
        px_mcp_answer_object(call, json_pack("{s:s}", "session_id", argument(arguments, "session_id")),
                             "What was running is interrupted; the session keeps its state.");
}

static void reset_session(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    int status = key ? pyexec_session_close(px_mcp_executor(call), key, &error) : px_error_oom(&error);
    bool absent = status < 0 && error.code == PYEXEC_SESSION_NOT_FOUND;
    if (status < 0 && !absent)
        px_mcp_fail(call, &error);
    else
        px_mcp_answer_object(
            call, json_pack("{s:s, s:b}", "session_id", argument(arguments, "session_id"), "existed", !absent),
            absent ? "There is no such session: the next run_python with this id starts one."
                   : "The session is gone, with its variables and files: the next run_python with this id "
                     "starts a new one.");
}

/* ---- Files ---- */

static void list_files(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    pyexec_file_list *list = NULL;
    if (!key)
        px_error_oom(&error);
    if (!key || pyexec_session_files(px_mcp_executor(call), key, NULL, &list, &error) < 0) {
        px_mcp_fail(call, &error);
        return;
    }
    json_t *files = json_array();
    px_auto_buffer struct px_buffer lines = {0};
    for (size_t i = 0; i < pyexec_file_list_count(list); i++) {
        const pyexec_file *file = pyexec_file_list_get(list, i);
        json_int_t size = (json_int_t)pyexec_file_bytes(file);
        px_buffer_printf(&lines, "%s (%lld bytes)\n", pyexec_file_path(file), (long long)size);
        px_json_append(files, json_pack("{s:s, s:I}", "path", pyexec_file_path(file), "bytes", size));
    }
    pyexec_file_list_free(list);
    px_mcp_answer_object(call, json_pack("{s:o}", "files", files), lines.length ? lines.data : "There are no files.");
}

/* True if it is an image that people and models can see. The first bytes decide, because the script chooses the
 * name. */
static const char *image_type(const char *bytes, size_t length)
{
    static const struct {
        const char *type, *magic;
        size_t length;
    } kinds[] = {{"image/png", "\x89PNG\r\n\x1a\n", 8}, {"image/jpeg", "\xff\xd8\xff", 3}, {"image/gif", "GIF8", 4}};
    for (size_t i = 0; i < PX_COUNT(kinds); i++)
        if (length >= kinds[i].length && memcmp(bytes, kinds[i].magic, kinds[i].length) == 0)
            return kinds[i].type;
    return length >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0 ? "image/webp" : NULL;
}

static void answer_file(struct px_mcp_call *call, const char *path, const char *bytes, size_t length)
{
    px_auto_buffer struct px_buffer encoded = {0}, note = {0};
    bool text = px_utf8_valid(bytes, length, NULL);
    const char *image = text ? NULL : image_type(bytes, length);
    if (!text)
        px_base64_encode(&encoded, bytes, length);
    px_buffer_printf(&note, "%s: %zu bytes that are not text; content_base64 has them.", path, length);
    px_auto_json json_t *object = json_pack("{s:s, s:I}", "path", path, "bytes", (json_int_t)length);
    if (text)
        px_json_set(object, "content", json_stringn(bytes, length));
    else
        px_json_set(object, "content_base64", json_string(px_buffer_string(&encoded)));
    px_auto_free char *structured = object ? px_json_dumps(object, JSON_COMPACT) : NULL;
    json_t *content = !structured || !px_buffer_ok(&encoded) ? NULL
                      : image                                ? px_mcp_image(image, px_buffer_string(&encoded))
                      : text                                 ? px_mcp_text(bytes, length)
                                                             : px_mcp_text(px_buffer_string(&note), note.length);
    px_mcp_answer_tool(call, content ? json_pack("[o]", content) : NULL, structured, false);
}

static void read_file(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    px_auto_free void *bytes = NULL;
    size_t length = 0;
    int status =
        key ? pyexec_session_read_file(px_mcp_executor(call), key, argument(arguments, "path"), &bytes, &length, &error)
            : px_error_oom(&error);
    if (status == 0 && length > MCP_READ_MAX) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "path: the file has %zu bytes, more than %u", length,
                     MCP_READ_MAX);
        status = px_error_hint(&error, "Read it in Python, and print the part that matters.");
    }
    if (status < 0)
        px_mcp_fail(call, &error);
    else
        answer_file(call, argument(arguments, "path"), bytes, length);
}

static int take_content(json_t *arguments, struct px_buffer *bytes, pyexec_error *error)
{
    const json_t *plain = json_object_get(arguments, "content");
    const json_t *encoded = json_object_get(arguments, "content_base64");
    if (plain && !encoded)
        px_buffer_add(bytes, json_string_value(plain), json_string_length(plain));
    else if (plain || !encoded ||
             px_base64_decode(bytes, json_string_value(encoded), json_string_length(encoded)) < 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "write_file: needs content or content_base64");
        return px_error_hint(error, "Send text as content, or any bytes as content_base64: the "
                                    "standard alphabet (+ and /) with its padding.");
    }
    return px_buffer_ok(bytes) ? 0 : px_error_oom(error);
}

/* Makes the session if it does not exist, because a client may send files before code. */
static int put_file(struct px_mcp_call *call, const char *key, const char *path, const struct px_buffer *bytes,
                    pyexec_error *error)
{
    pyexec_executor *executor = px_mcp_executor(call);
    int status = pyexec_session_write_file(executor, key, path, px_buffer_string(bytes), bytes->length, error);
    if (status == 0 || error->code != PYEXEC_SESSION_NOT_FOUND)
        return status;
    if (pyexec_session_create_object(executor, key, NULL, call->caller.ceiling, error) < 0 &&
        error->sys_errno != EEXIST)
        return -1;
    return pyexec_session_write_file(executor, key, path, px_buffer_string(bytes), bytes->length, error);
}

static void write_file(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    const char *path = argument(arguments, "path");
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    px_auto_buffer struct px_buffer bytes = {0}, note = {0};
    if (!key)
        px_error_oom(&error);
    if (!key || take_content(arguments, &bytes, &error) < 0 || put_file(call, key, path, &bytes, &error) < 0) {
        px_mcp_fail(call, &error);
        return;
    }
    px_buffer_printf(&note, "%s: %zu bytes written.", path, bytes.length);
    px_mcp_answer_object(call, json_pack("{s:s, s:I}", "path", path, "bytes", (json_int_t)bytes.length),
                         px_buffer_string(&note));
}

/* ---- The table ---- */

#define SESSION_ID \
    "\"session_id\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":128," \
    "\"pattern\":\"^[A-Za-z0-9._:-]+$\",\"description\":"
#define PATH "\"path\":{\"type\":\"string\",\"minLength\":1,\"description\":\"Relative to the working directory.\"}"
#define OF_SESSION \
    "{\"type\":\"object\",\"properties\":{" SESSION_ID "\"The session.\"}},\"required\":[\"session_id\"]," \
    "\"additionalProperties\":false}"
#define COUNT "{\"type\":\"integer\",\"minimum\":0}"

static const char run_input[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"code\":{\"type\":\"string\",\"description\":\"Python source. The value of its last expression is "
    "returned.\"}," SESSION_ID
    "\"Calls with the same id share variables, imports and files; the first one makes the session. Without it "
    "nothing is kept.\"},\"files\":{\"type\":\"object\",\"description\":\"Files to put into the working directory "
    "first: relative path to text, or to {\\\"base64\\\": "
    "...}.\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\",\"properties\":{\"base64\":{\"type\":\"string\"}},\"required\":[\"base64\"],\"additionalProperties\":false}]}},\"inputs\":{\"type\":\"object\",\"description\":\"Variables "
    "to set first: name to JSON value. For data, instead of writing it into the "
    "code.\"},\"value_json\":{\"type\":\"string\",\"enum\":[\"records\",\"split\"],\"description\":\"Ask for the "
    "last value as JSON too; tables as a list of objects, or as columns, index and "
    "data.\"},\"timeout_ms\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"Wall-clock limit, to make it "
    "shorter than usual.\"},\"environment\":{\"type\":\"string\",\"description\":\"The environment with the "
    "packages, if not the usual one. A session keeps the one of its first call.\"},\"detach\":{\"type\":\"boolean\",\"description\":\"true: answer at once with an "
    "execution_id, and let the code run on. For code that takes minutes; get_execution returns its "
    "result.\"},\"" PX_MCP_CHECKPOINT
    "\":{\"type\":\"boolean\",\"description\":\"true: keep the state of the session before "
    "this call, so that undo can return to it.\"}},\"required\":[\"code\"],\"additionalProperties\":false}";

static const char interrupt_output[] =
    "{\"type\":\"object\",\"properties\":{\"session_id\":{\"type\":\"string\"}},\"required\":[\"session_id\"]}";
static const char reset_output[] =
    "{\"type\":\"object\",\"properties\":{\"session_id\":{\"type\":\"string\"},\"existed\":{\"type\":\"boolean\"}},"
    "\"required\":[\"session_id\",\"existed\"]}";
static const char fork_input[] =
    "{\"type\":\"object\",\"properties\":{" SESSION_ID "\"The session. It stays as it is.\"},"
    "\"count\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"description\":\"How many new sessions; 1 if it is left "
    "out.\"},\"ids\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,\"items\":{\"type\":\"string\",\"pattern\":"
    "\"^[A-Za-z0-9._:-]+$\"},\"description\":\"Instead of count: the ids of the new sessions.\"}},"
    "\"required\":[\"session_id\"],\"additionalProperties\":false}";
static const char fork_output[] =
    "{\"type\":\"object\",\"properties\":{\"sessions\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"pause_ms\":{"
    "\"type\":\"number\"}},\"required\":[\"sessions\",\"pause_ms\"]}";
static const char undo_input[] =
    "{\"type\":\"object\",\"properties\":{" SESSION_ID "\"The session.\"},"
    "\"to\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"The execution_count of an earlier call, to go back to the state "
    "before it; the last call if it is left out.\"}},\"required\":[\"session_id\"],\"additionalProperties\":false}";
static const char undo_output[] =
    "{\"type\":\"object\",\"properties\":{\"to\":{\"type\":\"integer\"},\"checkpoints\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"integer\"}},\"pause_ms\":{\"type\":\"number\"}},\"required\":[\"to\",\"checkpoints\",\"pause_ms\"]}";
static const char list_output[] =
    "{\"type\":\"object\",\"properties\":{\"files\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":"
    "{\"path\":{\"type\":\"string\"},\"bytes\":" COUNT "},\"required\":[\"path\",\"bytes\"]}}},"
    "\"required\":[\"files\"]}";
static const char read_input[] = "{\"type\":\"object\",\"properties\":{" SESSION_ID "\"The session.\"}," PATH
                                 "},\"required\":[\"session_id\",\"path\"],\"additionalProperties\":false}";
static const char read_output[] =
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"bytes\":" COUNT ",\"content\":{\"type\":"
    "\"string\"},\"content_base64\":{\"type\":\"string\"}},\"required\":[\"path\",\"bytes\"]}";
static const char write_input[] =
    "{\"type\":\"object\",\"properties\":{" SESSION_ID "\"The session. It is made if it does not exist.\"}," PATH
    ",\"content\":{\"type\":\"string\",\"description\":\"Text.\"},\"content_base64\":{\"type\":\"string\","
    "\"description\":\"Or bytes.\"}},\"required\":[\"session_id\",\"path\"],\"additionalProperties\":false}";
static const char write_output[] =
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"bytes\":" COUNT
    "},\"required\":[\"path\",\"bytes\"]}";

#define EXECUTION_ID "\"execution_id\":{\"type\":\"string\",\"description\":\"From run_python with detach.\"}"

static const char get_input[] =
    "{\"type\":\"object\",\"properties\":{" EXECUTION_ID
    ",\"wait_ms\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":300000,\"description\":\"Wait this long for its end. "
    "Without it the answer comes at once.\"}},\"required\":[\"execution_id\"],\"additionalProperties\":false}";
static const char get_output[] =
    "{\"type\":\"object\",\"properties\":{\"execution_id\":{\"type\":\"string\"},\"session_id\":{\"type\":[\"string\","
    "\"null\"]},\"state\":{\"type\":\"string\",\"enum\":[\"waiting\",\"running\",\"ended\"]},\"result\":{\"type\":[\"object\","
    "\"null\"],\"description\":\"What run_python returns, when it has ended.\"},\"error\":{\"type\":[\"object\",\"null\"],"
    "\"description\":\"Why it could not run.\"}},\"required\":[\"execution_id\",\"session_id\",\"state\",\"result\",\"error\"]}";
static const char cancel_input[] = "{\"type\":\"object\",\"properties\":{" EXECUTION_ID
                                   "},\"required\":[\"execution_id\"],\"additionalProperties\":false}";
static const char cancel_output[] =
    "{\"type\":\"object\",\"properties\":{\"execution_id\":{\"type\":\"string\"},\"state\":{\"type\":\"string\"}},"
    "\"required\":[\"execution_id\",\"state\"]}";

/* All tools work inside the sandbox, so none of them can destroy something that belongs to the user. */
#define READS "{\"readOnlyHint\":true,\"openWorldHint\":false}"
#define CHANGES "{\"readOnlyHint\":false,\"destructiveHint\":false,\"idempotentHint\":true,\"openWorldHint\":false}"
#define ENDS "{\"readOnlyHint\":false,\"destructiveHint\":true,\"idempotentHint\":true,\"openWorldHint\":false}"

#define CHANGES_BACK \
    "{\"readOnlyHint\":false,\"destructiveHint\":true,\"idempotentHint\":false,\"openWorldHint\":false}"
#define MAKES "{\"readOnlyHint\":false,\"destructiveHint\":false,\"idempotentHint\":false,\"openWorldHint\":false}"

const struct px_mcp_tool px_mcp_tools[] = {
    {"run_python", "Run Python", NULL, NULL, run_input, NULL, .slow = true, .serve = run_python},
    {"interrupt", "Interrupt", CHANGES,
     "Interrupts what runs in a session, as Ctrl-C would; its variables and files stay.", OF_SESSION, interrupt_output,
     .serve = interrupt},
    {"reset_session", "Reset session", ENDS,
     "Ends a session with its variables and files; what runs in it is cancelled.", OF_SESSION, reset_output,
     .serve = reset_session},
    {"list_files", "List files", READS, "Lists the files in a session's working directory.", OF_SESSION, list_output,
     .serve = list_files},
    {"read_file", "Read file", READS,
     "Reads a file of a session's working directory, at most 8 MiB: text as text, images as images.", read_input,
     read_output, .serve = read_file},
    {"write_file", "Write file", CHANGES,
     "Writes a file into a session's working directory, and makes the folders above it.", write_input, write_output,
     .serve = write_file},
    {"get_execution", "Get execution", READS,
     "Returns the state of a run that was started with detach, and its result when it has ended.", get_input,
     get_output, .serve = px_mcp_get_execution},
    {"cancel_execution", "Cancel execution", ENDS, "Cancels a run that was started with detach.", cancel_input,
     cancel_output, .serve = px_mcp_cancel_execution},
    {"fork_session", "Fork session", MAKES,
     "Makes new sessions that go on from the state of a session: its variables, imports and files. To try several ways from one "
     "state, each in a session of its own.",
     fork_input, fork_output, .serve = px_mcp_fork_session, .forks = true, .offered = px_mcp_offers_fork},
    {"undo", "Undo", CHANGES_BACK,
     "Returns a session to the state before its last call: its variables and files are as they were. What the call did outside of the "
     "session stays done.",
     undo_input, undo_output, .serve = px_mcp_undo, .forks = true, .offered = px_mcp_offers_undo},
};
const size_t px_mcp_tool_count = PX_COUNT(px_mcp_tools);
