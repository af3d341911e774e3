/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/verify_report.h"

#include <inttypes.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "result/result_rows.h"
#include "result/result_types.h"

static const char *const names[] = {"skipped",   "pass",         "wrong",  "error",   "timeout",
                                    "cpu_limit", "memory_limit", "killed", "crashed", "cancelled"};
_Static_assert(PX_COUNT(names) == PX_VERDICT_COUNT, "each verdict has a name");

const char *px_verdict_name(enum px_verdict verdict)
{
    return names[verdict];
}

static enum px_verdict verdict_of(pyexec_status status)
{
    static const enum px_verdict verdicts[] = {
        [PYEXEC_STATUS_OK] = PX_VERDICT_PASS,
        [PYEXEC_STATUS_ERROR] = PX_VERDICT_ERROR,
        [PYEXEC_STATUS_TIMEOUT] = PX_VERDICT_TIMEOUT,
        [PYEXEC_STATUS_CPU_LIMIT] = PX_VERDICT_CPU_LIMIT,
        [PYEXEC_STATUS_MEMORY_LIMIT] = PX_VERDICT_MEMORY_LIMIT,
        [PYEXEC_STATUS_KILLED] = PX_VERDICT_KILLED,
        [PYEXEC_STATUS_CRASHED] = PX_VERDICT_CRASHED,
        [PYEXEC_STATUS_CANCELLED] = PX_VERDICT_CANCELLED,
    };
    return verdicts[status];
}

/* ---- Verdicts ---- */

static enum px_verdict verdict_of_text(const struct px_verify_tests *tests, const struct px_verify_test *test,
                                       const pyexec_result *result)
{
    const struct px_stream *stream = &result->streams[0];
    bool same = !stream->truncated &&
                px_compare_text(&tests->compare, json_string_value(test->expected), json_string_length(test->expected),
                                px_buffer_shown(&stream->text), px_buffer_length(&stream->text));
    return same ? PX_VERDICT_PASS : PX_VERDICT_WRONG;
}

static int has_no_value(pyexec_result *result)
{
    const struct px_buffer *why = &result->claims.value_json_error;
    char text[1200];
    if (why->length) {
        snprintf(text, sizeof text, "the returned value can't be compared: %.1000s", px_buffer_shown(why));
        return px_result_set_error(result, "ValueError", text);
    }
    snprintf(text, sizeof text, "the process ended with exit code %d before the test had run to its end",
             result->exit_code);
    return px_result_set_error(result, "SystemExit", text);
}

static int verdict_of_value(const struct px_verify_tests *tests, const struct px_verify_test *test,
                            pyexec_result *result, enum px_verdict *ret)
{
    const struct px_buffer *text = &result->claims.value_json;
    json_error_t problem;
    *ret = PX_VERDICT_ERROR;
    if (!result->has_value_json)
        return has_no_value(result);
    if (test->kind == PX_VERIFY_CODE) {
        *ret = PX_VERDICT_PASS;
        return 0;
    }
    px_auto_json json_t *sent = px_json_read(px_buffer_shown(text), px_buffer_length(text),
                                             JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!sent && px_json_no_memory(&problem))
        return -1;
    if (!sent)
        return px_result_set_error(result, "ValueError", "the returned value can't be compared: it is not JSON");
    *ret = px_compare_value(&tests->compare, test->expected, sent) ? PX_VERDICT_PASS : PX_VERDICT_WRONG;
    return 0;
}

int px_verdict_decide(const struct px_verify_tests *tests, const struct px_verify_test *test, pyexec_result *result,
                      enum px_verdict *ret)
{
    *ret = verdict_of(result->status);
    /* A failed assert says that the answer is wrong. */
    if (*ret == PX_VERDICT_ERROR && test->kind == PX_VERIFY_CODE && result->error_type &&
        strcmp(result->error_type, "AssertionError") == 0)
        *ret = PX_VERDICT_WRONG;
    if (*ret != PX_VERDICT_PASS)
        return 0;
    if (test->kind != PX_VERIFY_STDIN)
        return verdict_of_value(tests, test, result, ret);
    *ret = verdict_of_text(tests, test, result);
    return 0;
}

/* ---- JSON ---- */

static void write_shown(struct px_buffer *out, const char *key, const struct px_buffer *text, size_t limit)
{
    px_buffer_printf(out, ",\"%s\":", key);
    px_json_text_string(out, px_buffer_shown(text),
                        px_utf8_truncate(px_buffer_shown(text), px_buffer_length(text), limit));
}

static void write_stream(struct px_buffer *out, const char *key, const struct px_stream *stream, size_t limit)
{
    bool cut = stream->truncated || stream->text.length > limit;
    write_shown(out, key, &stream->text, limit);
    px_buffer_printf(out, ",\"%s_truncated\":%s,\"%s_bytes\":%" PRIu64, key, cut ? "true" : "false", key,
                     stream->bytes);
}

/* A value that is too long to be shown is cut as text would be, and then it is no JSON any more: it is left out. */
static void write_value(struct px_buffer *out, const pyexec_result *result, size_t limit)
{
    const struct px_buffer *value = &result->claims.value_json;
    bool shown = result->has_value_json && value->length <= limit;
    px_buffer_printf(out, ",\"value\":%s,\"value_truncated\":%s", shown ? px_buffer_shown(value) : "null",
                     result->has_value_json && !shown ? "true" : "false");
}

static void write_error(struct px_buffer *out, const pyexec_result *result)
{
    px_buffer_add_string(out, ",\"error\":");
    if (result && result->error_type)
        px_result_write(out, PX_OWNER_Error, result);
    else
        px_buffer_add_string(out, "null");
}

static void write_result(struct px_buffer *out, pyexec_result *result, size_t limit)
{
    px_buffer_printf(out, ",\"exit_code\":%d", result->exit_code);
    write_stream(out, "stdout", &result->streams[0], limit);
    write_stream(out, "stderr", &result->streams[1], limit);
    write_error(out, result);
    px_buffer_add_string(out, ",\"usage\":");
    px_result_write(out, PX_OWNER_Usage, result);
}

static void write_nothing(struct px_buffer *out, const pyexec_result *solution)
{
    px_buffer_add_string(out,
                         ",\"value\":null,\"value_truncated\":false,\"exit_code\":null,\"stdout\":\"\","
                         "\"stdout_truncated\":false,\"stdout_bytes\":0,\"stderr\":\"\",\"stderr_truncated\":false,"
                         "\"stderr_bytes\":0");
    write_error(out, solution);
    px_buffer_add_string(out, ",\"usage\":null");
}

void px_verdict_write(struct px_buffer *out, const struct px_verify_tests *tests, size_t index, enum px_verdict verdict,
                      pyexec_result *result, const pyexec_result *solution)
{
    const struct px_verify_test *test = &tests->tests[index];
    px_buffer_printf(out, "{\"index\":%zu,\"kind\":\"%s\",\"verdict\":\"%s\",\"claim\":%s", index,
                     px_verify_kind_name(test->kind), names[verdict],
                     test->kind == PX_VERIFY_CODE && verdict == PX_VERDICT_PASS ? "true" : "false");
    if (result) {
        if (test->kind == PX_VERIFY_CALL)
            write_value(out, result, tests->output_bytes);
        else
            px_buffer_add_string(out, ",\"value\":null,\"value_truncated\":false");
        write_result(out, result, tests->output_bytes);
    } else {
        write_nothing(out, solution);
    }
    px_buffer_add_byte(out, '}');
}

void px_verdict_write_solution(struct px_buffer *out, const struct px_verify_tests *tests, pyexec_result *result)
{
    px_buffer_printf(out, "{\"status\":\"%s\"", pyexec_status_name(result->status));
    write_result(out, result, tests->output_bytes);
    px_buffer_add_byte(out, '}');
}

int px_verdict_not_forkable(pyexec_result **ret, pyexec_error *error)
{
    char text[sizeof error->message + sizeof error->hint + 2];
    snprintf(text, sizeof text, "%s. %s", error->message, error->hint);
    *ret = px_result_new();
    if (!*ret)
        return px_error_oom(error);
    (*ret)->status = PYEXEC_STATUS_ERROR;
    (*ret)->exit_code = 1;
    return px_result_set_error(*ret, "NotForkable", text) < 0 ? px_error_oom(error) : 0;
}
