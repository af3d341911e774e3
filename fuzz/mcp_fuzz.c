/* SPDX-License-Identifier: Apache-2.0 */
/* The input is lines of an MCP client, which are handled as in `pyexec mcp`. Each line of the output must be a valid message, and
 * the last request, which is added to the input, must get its answer. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/json.h"
#include "fuzz.h"
#include "mcp/mcp.h"

#define LAST "\n{\"jsonrpc\":\"2.0\",\"id\":\"the last\",\"method\":\"ping\"}\n"

/* An answer repeats the id of its request unchanged. If the id has a number or an escape that jansson refuses, jansson also refuses
 * the answer. Requires that this is the reason. */
static void require_refused_id(const json_error_t *problem)
{
    enum json_error_code code = json_error_code(problem);
    require(code == json_error_numeric_overflow ||
            (code == json_error_invalid_syntax && strstr(problem->text, "Unicode")));
}

/* A result of tools/call must have content, and also structured content unless the call failed. */
static void require_result(json_t *result)
{
    json_t *content = json_object_get(result, "content"), *block;
    size_t i;
    require(json_is_object(result));
    json_array_foreach(content, i, block)
        require(json_string_length(json_object_get(block, "type")));
    if (content)
        require(json_array_size(content) &&
                (json_is_true(json_object_get(result, "isError")) || json_object_get(result, "structuredContent")));
}

static void require_message(const char *line, size_t length)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"";
    json_error_t problem;
    require(length > sizeof head && memcmp(line, head, sizeof head - 1) == 0);
    require(px_utf8_valid(line, length, NULL));
    px_auto_json json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!message) {
        require_refused_id(&problem);
        return;
    }
    json_t *error = json_object_get(message, "error"), *result = json_object_get(message, "result");
    if (json_object_get(message, "method")) {
        require(!error && !result && json_object_get(json_object_get(message, "params"), "progressToken"));
        return;
    }
    require(json_object_get(message, "id") && !error + !result == 1);
    if (result)
        require_result(result);
    else
        require(json_string_length(json_object_get(error, "message")) &&
                json_integer_value(json_object_get(error, "code")) < -32000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pyexec_executor *executor;
    static struct px_policy policy;
    pyexec_error error;
    px_auto_fd int input = memfd_create("input", MFD_CLOEXEC);
    px_auto_fd int output = memfd_create("output", MFD_CLOEXEC);
    px_auto_buffer struct px_buffer answers = {0};
    require(executor || pyexec_executor_open("{}", &executor, &error) == 0);
    require(policy.python_bin || px_policy_init(&policy, &error) == 0);
    require(input >= 0 && output >= 0 && px_write_all(input, data, size) == 0);
    require(px_write_all(input, LAST, sizeof LAST - 1) == 0 && lseek(input, 0, SEEK_SET) == 0);
    require(px_mcp_stdio(executor, &policy, NULL, NULL, input, output, -1, &error) == 0);
    require(lseek(output, 0, SEEK_SET) == 0 && px_read_all(output, &answers, 1u << 30) == 0);
    const char *at = px_buffer_string(&answers), *end;
    bool answered = false;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        require_message(at, (size_t)(end - at));
        answered = answered || memmem(at, (size_t)(end - at), "\"id\":\"the last\",\"result\":{", 26);
    }
    require(!*at && answered);
    return 0;
}
