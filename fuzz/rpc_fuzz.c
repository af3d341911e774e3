/* SPDX-License-Identifier: Apache-2.0 */
/* The input is lines of an RPC client, which are handled as in `pyexec rpc`, with the library of library.c. Each line of the output
 * must be a valid message, and the last request, which is added to the input, must get its answer. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "fuzz.h"
#include "policy/request.h"
#include "result/result.h"
#include "rpc/rpc.h"

#define LAST "\n{\"jsonrpc\":\"2.0\",\"id\":\"the last\",\"method\":\"ping\"}\n"

/* ---- The client ---- */

/* An answer repeats the id of its request unchanged. If the id has a number or an escape that jansson refuses, jansson also refuses
 * the answer. Requires that this is the reason. */
static void require_refused_id(const json_error_t *problem)
{
    enum json_error_code code = json_error_code(problem);
    require(code == json_error_numeric_overflow ||
            (code == json_error_invalid_syntax && strstr(problem->text, "Unicode")));
}

static void require_message(const char *line, size_t length)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"";
    json_error_t problem;
    require(length > sizeof head && memcmp(line, head, sizeof head - 1) == 0);
    require(px_utf8_valid(line, length, NULL));
    json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!message) {
        require_refused_id(&problem);
        return;
    }
    json_t *error = json_object_get(message, "error"), *data = json_object_get(error, "data");
    require(json_object_get(message, "method") || json_object_get(message, "id"));
    require(!json_object_get(message, "method") + !error + !json_object_get(message, "result") == 2);
    require(!error || json_string_length(json_object_get(error, "message")));
    require((json_integer_value(json_object_get(error, "code")) == -32000) == (data != NULL));
    const char *code = json_string_value(json_object_get(data, "code"));
    require(!data || json_string_length(json_object_get(data, "hint")) ||
            (code && strcmp(code, "invalid_request") != 0));
    json_decref(message);
}

/* Returns true if the input may have a shutdown request, so that the last request gets no answer. */
static bool may_shut_down(const uint8_t *data, size_t size)
{
    return memmem(data, size, "shutdown", 8) || memmem(data, size, "\\u", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    px_auto_fd int input = memfd_create("input", MFD_CLOEXEC);
    px_auto_fd int output = memfd_create("output", MFD_CLOEXEC);
    struct px_buffer px_auto_buffer answers = {0};
    require(input >= 0 && output >= 0 && px_write_all(input, data, size) == 0);
    require(px_write_all(input, LAST, sizeof LAST - 1) == 0 && lseek(input, 0, SEEK_SET) == 0);
    require(px_rpc_serve(input, output, -1, false, NULL, NULL, NULL) == 0);
    require(fuzz_calls_held() == 0);
    require(lseek(output, 0, SEEK_SET) == 0 && px_read_all(output, &answers, 1u << 30) == 0);
    const char *at = px_buffer_string(&answers), *end;
    bool answered = false;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        require_message(at, (size_t)(end - at));
        answered = answered || memmem(at, (size_t)(end - at), "\"id\":\"the last\",\"result\":{}", 27);
    }
    require(!*at && (answered || may_shut_down(data, size)));
    return 0;
}
