/* SPDX-License-Identifier: Apache-2.0 */
/* The input is the packets of a child. Before each packet is its length in two bytes, the lower byte first. They are read until one
 * is invalid or the input ends. The result of all valid packets must be valid JSON. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "result/result.h"

static const size_t sizes[] = {
    [PX_RESULT_NONE] = 0,
#define PX_CHILD_NUMBER(NAME, wire, ...) [PX_RESULT_##NAME] = sizeof(wire),
#define PX_CHILD_TEXT(NAME, member, size, ...) [PX_RESULT_##NAME] = size,
#define PX_CHILD_OTHER(NAME, size, ...) [PX_RESULT_##NAME] = size,
#include "protocol/child_fields.def"
};

/* Takes the tool calls. Every second one is answered at once. */
static void take_tool_calls(struct px_tool_claims *tools)
{
    require(tools->outstanding <= PX_TOOL_CALLS_AT_ONCE && tools->bytes <= PX_TOOL_ARGUMENTS_AT_ONCE);
    for (struct px_tool_claim *claim; (claim = px_tool_claims_next(tools));) {
        require(strlen(claim->name) <= PX_TOOL_NAME_MAX && claim->arguments.length <= PX_TOOL_VALUE_MAX);
        if (!claim->abandons && claim->number % 2) {
            tools->outstanding--;
            tools->bytes -= claim->arguments.length;
        }
        px_tool_claim_free(claim);
    }
}

static void take_packets(pyexec_result *result, const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t length = data[0] | (size_t)data[1] << 8;
        length = length < size - 2 ? length : size - 2;
        /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
        px_auto_free char *packet = malloc(length ? length : 1);
        const char *why = NULL;
        require(packet);
        memcpy(packet, data + 2, length);
        if (px_child_result_parse(&result->claims, packet, length, &why) < 0) {
            require(why);
            return;
        }
        require(!why);
        take_tool_calls(&result->claims.tools);
        data += 2 + length;
        size -= 2 + length;
    }
}

static void require_bounds(const struct px_child_result *claims)
{
    for (size_t i = 0; i < PX_RESULT_KINDS; i++)
        require(claims->sizes[i] <= (i < PX_COUNT(sizes) ? sizes[i] : 0));
    require(claims->denial_count <= PX_DENIALS_MAX);
    require(claims->displays.count <= claims->displays.max_count &&
            claims->displays.bytes <= claims->displays.max_bytes);
    require(claims->value_json.length <= PX_VALUE_MAX && claims->value.length <= PX_VALUE_MAX &&
            claims->traceback.length <= PX_TRACEBACK_MAX);
}

static void require_stream(pyexec_result *result, const uint8_t *data, size_t size)
{
    struct px_stream *stream = &result->streams[0];
    size_t limit = size ? data[0] : 0;
    px_buffer_add(&stream->text, data, size < limit ? size : limit);
    stream->truncated = size > limit;
    if (px_stream_finish(stream, limit) < 0)
        abort();
    require(stream->text.length <= limit);
    require(px_utf8_valid(px_buffer_string(&stream->text), stream->text.length, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pyexec_result *result = px_result_new();
    require(result);
    result->claims.tools.offered = size % 2;
    const struct px_child_result *claims = &result->claims;
    /* The first byte of the input also says how much may be displayed. */
    result->claims.displays.max_count = size ? 1 + data[0] % 8 : 0;
    result->claims.displays.max_bytes = size ? data[0] * 16u : 0;
    take_packets(result, data, size);
    require_bounds(claims);
    require_stream(result, data, size);
    if (!px_child_result_check(claims)) {
        result->has_value = true;
        px_displays_finish(&result->claims.displays);
        uint64_t room = PX_JSON_ROOM;
        result->has_value_json =
            px_json_claim_ok(px_buffer_string(&claims->value_json), claims->value_json.length, false, &room);
        require(px_result_set_error(result, px_buffer_string(&claims->type), px_buffer_string(&claims->message)) == 0);
        const char *json = pyexec_result_json(result);
        json_t *object = json ? json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL) : NULL;
        require(json_is_object(object) && !strchr(json, '\n'));
        json_decref(object);
    }
    pyexec_result_free(result);
    return 0;
}
