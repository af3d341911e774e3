/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the JSON-RPC messages of an MCP client, and makes the result for the script from an answer. */
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "mcp_client/client_private.h"

#define META "io.modelcontextprotocol/"
#define MODERN "2026-07-28"

static json_t *client_info(void)
{
    return json_pack("{s:s, s:s}", "name", "pyexec", "version", pyexec_version());
}

/* Takes ownership of the message. */
static void add_line(struct px_buffer *out, json_t *message)
{
    px_auto_free char *text = px_json_take_text(message);
    px_buffer_add_string(out, text);
    px_buffer_add_byte(out, '\n');
}

void px_client_message_request(struct px_buffer *out, bool modern, int64_t id, const char *method, json_t *params)
{
    if (modern) {
        json_t *meta = json_object_get(params, "_meta");
        json_t *own = json_pack("{s:s, s:{}, s:o}", META "protocolVersion", MODERN, META "clientCapabilities",
                                META "clientInfo", client_info());
        if (meta)
            px_json_merge(meta, own);
        else
            px_json_set(params, "_meta", own);
    }
    add_line(out, json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)id, "method", method, "params",
                            params));
}

void px_client_message_notify(struct px_buffer *out, const char *method, json_t *params)
{
    add_line(out, json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params));
}

void px_client_message_answer(struct px_buffer *out, const json_t *message)
{
    json_t *id = json_object_get(message, "id");
    const char *method = json_string_value(json_object_get(message, "method"));
    if (method && strcmp(method, "ping") == 0)
        add_line(out, json_pack("{s:s, s:O, s:{}}", "jsonrpc", "2.0", "id", id, "result"));
    else
        add_line(out, json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error", "code", -32601,
                                "message", "Method not found: this client offers nothing"));
}

/* ---- Answers ---- */

/* Appends the texts of the content, each on a line of its own. Returns false if the content also has blocks
 * that are not text. */
static bool add_texts(const json_t *content, struct px_buffer *out)
{
    size_t i;
    json_t *block;
    bool all = true;
    json_array_foreach(content, i, block) {
        const char *type = json_string_value(json_object_get(block, "type"));
        const json_t *text = json_object_get(block, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text)) {
            all = false;
            continue;
        }
        if (out->length)
            px_buffer_add_byte(out, '\n');
        px_buffer_add(out, json_string_value(text), json_string_length(text));
    }
    return all;
}

static void fail(pyexec_tool_call *call, const char *text, const json_t *data)
{
    pyexec_error error;
    px_auto_free char *json =
        data ? px_json_dumps(data, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (pyexec_tool_call_fail(call, text, json, &error) < 0 && error.code == PYEXEC_INVALID_REQUEST)
        (void)!pyexec_tool_call_fail(call, text, NULL, &error);
}

/* Answers the script's call with this value. */
static void answer(pyexec_tool_call *call, const json_t *value)
{
    pyexec_error error;
    px_auto_free char *text = px_json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text && pyexec_tool_call_answer(call, text, strlen(text), &error) == 0)
        return;
    fail(call, text ? error.message : "the host has no memory for the answer", NULL);
}

void px_client_message_result(pyexec_tool_call *call, const json_t *result)
{
    px_auto_buffer struct px_buffer text = {0};
    const json_t *content = json_object_get(result, "content"),
                 *structured = json_object_get(result, "structuredContent");
    const char *type = json_string_value(json_object_get(result, "resultType"));
    bool texts = add_texts(content, &text);
    if (!json_is_object(result) || (type && strcmp(type, "complete") != 0)) {
        fail(call, "the server asks for more input, which a script can't give, or its answer is not valid in MCP",
             NULL);
    } else if (json_is_true(json_object_get(result, "isError"))) {
        fail(call, px_buffer_length(&text) ? px_buffer_shown(&text) : "the tool failed without a message",
             structured && !json_is_null(structured) ? structured : NULL);
    } else if (structured && !json_is_null(structured)) {
        answer(call, structured);
    } else if (texts) {
        px_auto_json json_t *string = json_stringn(px_buffer_shown(&text), px_buffer_length(&text));
        answer(call, string);
    } else {
        answer(call, content);
    }
}

void px_client_message_error(pyexec_tool_call *call, const char *server, const json_t *error)
{
    px_auto_buffer struct px_buffer text = {0};
    const json_t *code = json_object_get(error, "code");
    const char *message = json_string_value(json_object_get(error, "message"));
    px_buffer_printf(&text, "%s: %s (%lld)", server, message ? message : "an error without a message",
                     (long long)json_integer_value(code));
    fail(call, px_buffer_shown(&text), json_object_get(error, "data"));
}
