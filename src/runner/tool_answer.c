/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tool_answer.h"

#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "protocol/wire.h"

#define TEXT_MAX 65536 /* bytes of a message or reason that are kept */

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the answer of a tool call is %s", what);
    return px_error_hint(error, "Answer with JSON of at most 8 MiB and 200 levels; put larger data into a file.");
}

int px_tool_answer_check(const char *json, size_t length, pyexec_error *error)
{
    json_error_t problem = {0};
    if (length > PX_TOOL_VALUE_MAX)
        return refuse("larger than 8 MiB", error);
    if (strlen(json) != length || px_json_memory_estimate(json, length).depth > 200)
        return refuse("not JSON, or nested too deeply", error);
    px_auto_json json_t *value =
        px_json_read(json, length, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem);
    if (value)
        return 0;
    return px_json_no_memory(&problem) ? px_error_oom(error) : refuse("not JSON", error);
}

static json_t *clean_string(const char *text)
{
    struct px_buffer px_auto_buffer repaired = {0};
    px_utf8_repair(&repaired, text, strlen(text));
    return json_stringn(px_buffer_shown(&repaired),
                        px_utf8_truncate(px_buffer_shown(&repaired), px_buffer_length(&repaired), TEXT_MAX));
}

char *px_tool_answer_error(const char *message, const char *data_json)
{
    struct px_buffer px_auto_buffer text = {0};
    px_auto_json json_t *string = clean_string(message);
    px_auto_free char *quoted = px_json_dumps(string, JSON_ENCODE_ANY);
    px_buffer_add_string(&text, "{\"message\":");
    px_buffer_add_string(&text, quoted);
    px_buffer_add_string(&text, ",\"data\":");
    px_buffer_add_string(&text, data_json ? data_json : "null");
    px_buffer_add_byte(&text, '}');
    return px_buffer_take(&text);
}

char *px_tool_answer_denial(const char *reason, const char *hint)
{
    return px_json_take_text(json_pack("{s:o, s:s}", "reason", clean_string(reason), "hint", hint));
}
