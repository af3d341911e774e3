/* SPDX-License-Identifier: Apache-2.0 */
/* SandboxFusion's POST /submit for its dataset class CommonOJDataset: a model's answer, and tests with standard input and the output
 * that is expected. All tests of a request are one verify (docs/verify.md). The server has no datasets of its own, so a request
 * brings its row as `provided_data`. What can't be judged gets 400 with `detail`. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/utf8.h"
#include "serve/code_blocks.h"
#include "serve/fusion.h"
#include "serve/http.h"
#include "serve/run_request.h"

#define SUBMIT_SECONDS 20
#define OUTPUT_MAX 65536       /* bytes of each test's output in the answer */
#define OUTPUTS_MAX (8u << 20) /* of all tests together */
#define TESTS_MAX 10000
#define SHOWN_MAX 1000 /* characters of a test's texts, when it passed */
#define CLASS "CommonOJDataset"

struct submission {
    json_t *body, *config, *extra;
    json_t *tests;    /* owned */
    json_t *language; /* a string */
    struct px_buffer code;
};

static void submission_done(struct submission *submission)
{
    json_decref(submission->tests);
    px_buffer_done(&submission->code);
}

/* ---- What it does not take ---- */

static bool bad(struct px_http_request *request, const char *detail)
{
    request->outcome = "invalid_request";
    px_respond_json(request, MHD_HTTP_BAD_REQUEST, px_json_take_text(json_pack("{s:s}", "detail", detail)));
    return false;
}

static bool check_members(struct px_http_request *request, const struct submission *submission)
{
    static const struct {
        const char *name, *type, *message;
        bool number;
    } members[] = {{"dataset", "string_type", "Input should be a valid string", false},
                   {"id", "string_type", "Input should be a valid string", true},
                   {"completion", "string_type", "Input should be a valid string", false},
                   {"config", "model_type", "Input should be a valid dictionary", false}};
    for (size_t i = 0; i < PX_COUNT(members); i++) {
        const json_t *value = json_object_get(submission->body, members[i].name);
        bool good = i == PX_COUNT(members) - 1 ? json_is_object(value)
                                               : json_is_string(value) || (members[i].number && json_is_integer(value));
        if (!value)
            return px_fusion_refuse(request, members[i].name, "missing", "Field required");
        if (!good)
            return px_fusion_refuse(request, members[i].name, members[i].type, members[i].message);
    }
    return true;
}

static bool is_given(const json_t *value)
{
    return value && !json_is_null(value);
}

static bool check_config(struct px_http_request *request, const struct submission *submission)
{
    const json_t *class = json_object_get(submission->config, "dataset_type"), *language = submission->language;
    const json_t *timeout = json_object_get(submission->config, "run_timeout");
    if (is_given(timeout) && !json_is_number(timeout))
        return px_fusion_refuse(request, "config.run_timeout", "float_type", "Input should be a valid number");
    if (submission->extra && !json_is_object(submission->extra))
        return px_fusion_refuse(request, "config.extra", "dict_type", "Input should be a valid dictionary");
    if (!is_given(language))
        return bad(request, "config.language field must exist for " CLASS ", got None");
    if (!json_is_string(language) || strcmp(json_string_value(language), "python") != 0)
        return px_fusion_refuse(request, "config.language", "literal_error", "Input should be 'python'");
    if (is_given(class) && (!json_is_string(class) || strcmp(json_string_value(class), CLASS) != 0))
        return bad(request, "config.dataset_type: only " CLASS " is there, whose tests have stdin and stdout");
    if (is_given(json_object_get(submission->config, "custom_extract_logic")))
        return bad(request,
                   "config.custom_extract_logic would run code in the server: send the code between ``` fences");
    return true;
}

/* Only the standard streams. Other names are files, which this server would have to ignore. */
static bool has_only(const json_t *texts, const char *name)
{
    return json_object_size(texts) == 1 && json_is_string(json_object_get(texts, name));
}

static bool read_tests(struct px_http_request *request, struct submission *submission)
{
    const json_t *row = json_object_get(submission->config, "provided_data"), *test;
    json_t *tests = json_object_get(row, "test");
    json_error_t problem;
    size_t i;
    if (!json_is_object(row) || !tests)
        return bad(request, "this server has no datasets: send the row as config.provided_data, an object with 'test'");
    submission->tests = json_is_string(tests) ? px_json_read(json_string_value(tests), json_string_length(tests),
                                                             JSON_REJECT_DUPLICATES, &problem)
                                              : json_incref(tests);
    size_t count = json_array_size(submission->tests);
    if (count < 1 || count > TESTS_MAX)
        return bad(request, "config.provided_data.test is not a list of 1 to 10000 tests");
    json_array_foreach(submission->tests, i, test) {
        char detail[200];
        if (has_only(json_object_get(test, "input"), "stdin") && has_only(json_object_get(test, "output"), "stdout"))
            continue;
        snprintf(detail, sizeof detail,
                 "config.provided_data.test[%zu] is not {\"input\": {\"stdin\": text}, \"output\": {\"stdout\": text}}",
                 i);
        return bad(request, detail);
    }
    return true;
}

static bool read_submission(struct px_http_request *request, json_t *body, struct submission *ret)
{
    *ret = (struct submission){.body = body, .config = json_object_get(body, "config")};
    ret->extra = json_object_get(ret->config, "extra");
    ret->language = json_object_get(ret->config, "language");
    return check_members(request, ret) && check_config(request, ret) && read_tests(request, ret);
}

/* ---- The run ---- */

static json_t *tests_of(const struct submission *submission)
{
    json_t *tests = json_array(), *test;
    size_t i;
    json_array_foreach(submission->tests, i, test)
        px_json_append(tests, json_pack("{s:O, s:O}", "stdin", json_object_get(json_object_get(test, "input"), "stdin"),
                                        "expect_stdout", json_object_get(json_object_get(test, "output"), "stdout")));
    return tests;
}

static size_t output_bytes(size_t tests)
{
    size_t share = OUTPUTS_MAX / tests;
    return share < OUTPUT_MAX ? share : OUTPUT_MAX;
}

static json_t *verify_request(struct px_http_request *request, const struct submission *submission)
{
    const json_t *timeout = json_object_get(submission->config, "run_timeout");
    json_t *policy = px_fusion_policy(request, is_given(timeout) ? json_number_value(timeout) : SUBMIT_SECONDS, 0);
    px_json_set(policy, "allowed_hosts", json_array()); /* a solution has no network, whatever the server's policy is */
    bool all = json_is_true(json_object_get(submission->extra, "run_all_cases"));
    return json_pack("{s:s%, s:o, s:o, s:s, s:b, s:I}", "solution", px_buffer_string(&submission->code),
                     submission->code.length, "tests", tests_of(submission), "policy", policy, "compare", "lines",
                     "stop_on_fail", !all, "output_bytes",
                     (json_int_t)output_bytes(json_array_size(submission->tests)));
}

/* ---- The answer ---- */

static void add_cut(struct px_buffer *out, const json_t *test, const char *stream)
{
    char truncated[32], bytes[32];
    snprintf(truncated, sizeof truncated, "%s_truncated", stream);
    snprintf(bytes, sizeof bytes, "%s_bytes", stream);
    if (json_is_true(json_object_get(test, truncated)))
        px_dialect_add_cut_stream(out, stream, (uint64_t)json_integer_value(json_object_get(test, bytes)));
}

static json_t *stderr_of(const json_t *test, bool by_exception)
{
    px_auto_buffer struct px_buffer text = {0};
    px_auto_buffer struct px_buffer error = {0};
    const json_t *written = json_object_get(test, "stderr"), *why = json_object_get(test, "error");
    px_buffer_add(&text, json_string_value(written), json_string_length(written));
    if (json_is_object(why) && !by_exception)
        px_buffer_printf(&error, "%s: %s", json_string_value(json_object_get(why, "type")),
                         json_string_value(json_object_get(why, "message")));
    px_dialect_add_line(&text, px_buffer_shown(&error));
    px_dialect_add_line(&text, json_string_value(json_object_get(why, "hint")));
    add_cut(&text, test, "stdout");
    add_cut(&text, test, "stderr");
    return json_stringn(px_buffer_string(&text), text.length);
}

static double seconds(const json_t *test, const char *name)
{
    return json_number_value(json_object_get(json_object_get(test, "usage"), name)) / 1000;
}

static json_t *exec_info(const json_t *test)
{
    const char *verdict = json_string_value(json_object_get(test, "verdict"));
    const json_t *code = json_object_get(test, "exit_code");
    bool late = strcmp(verdict, "timeout") == 0 || strcmp(verdict, "cpu_limit") == 0;
    bool good = !late && json_is_integer(code) && json_integer_value(code) == 0;
    json_t *run = json_pack("{s:s, s:f, s:f, s:O, s:O, s:o}", "status", late ? "TimeLimitExceeded" : "Finished",
                            "execution_time", seconds(test, "wall_ms"), "cpu_time", seconds(test, "cpu_ms"),
                            "return_code", late ? json_null() : code, "stdout", json_object_get(test, "stdout"),
                            "stderr", stderr_of(test, strcmp(verdict, "error") == 0));
    return json_pack("{s:s, s:s, s:n, s:o, s:n, s:{}}", "status", good ? "Success" : "Failed", "message", "",
                     "compile_result", "run_result", run, "executor_pod_name", "files");
}

/* Returns the text; a long one as its start and its end. */
static json_t *shortened(const json_t *text)
{
    const char *all = json_string_value(text);
    size_t length = json_string_length(text), half = SHOWN_MAX / 2;
    if (length <= SHOWN_MAX)
        return json_string(all);
    px_auto_buffer struct px_buffer shown = {0};
    const char *end = all + length - half;
    while (((unsigned char)*end & 0xc0) == 0x80)
        end++;
    px_buffer_add(&shown, all, px_utf8_truncate(all, length, half));
    px_buffer_add_string(&shown, "...");
    px_buffer_add_string(&shown, end);
    return json_string(px_buffer_string(&shown));
}

static json_t *test_info(const struct submission *submission, size_t index, bool passed)
{
    json_t *test = json_array_get(submission->tests, index);
    if (!passed || json_is_true(json_object_get(submission->extra, "return_full_case")))
        return json_incref(test);
    return json_pack("{s:{s:o}, s:{s:o}}", "input", "stdin",
                     shortened(json_object_get(json_object_get(test, "input"), "stdin")), "output", "stdout",
                     shortened(json_object_get(json_object_get(test, "output"), "stdout")));
}

static void answer(struct px_http_request *request, const struct submission *submission, const json_t *verified)
{
    const json_t *test;
    json_t *tests = json_array();
    size_t i;
    json_array_foreach(json_object_get(verified, "tests"), i, test) {
        const char *verdict = json_string_value(json_object_get(test, "verdict"));
        bool passed = strcmp(verdict, "pass") == 0;
        if (strcmp(verdict, "skipped") != 0)
            px_json_append(tests, json_pack("{s:b, s:o, s:o}", "passed", passed, "exec_info", exec_info(test),
                                            "test_info", test_info(submission, i, passed)));
    }
    json_t *all = json_pack("{s:O, s:O, s:s%, s:n, s:n, s:o, s:n, s:n}", "id", json_object_get(submission->body, "id"),
                            "accepted", json_object_get(verified, "passed"), "extracted_code",
                            px_buffer_string(&submission->code), submission->code.length, "full_code", "test_code",
                            "tests", tests, "extracted_type", "extra");
    px_respond_json(request, MHD_HTTP_OK, px_json_take_text(all));
}

static void failed(struct px_http_request *request, const pyexec_error *error)
{
    char detail[sizeof error->message + sizeof error->hint + 2];
    snprintf(detail, sizeof detail, "%s. %s", error->message, error->hint);
    if (!px_dialect_failed(request, error))
        bad(request, detail);
}

static void verify(struct px_http_request *request, const struct submission *submission)
{
    pyexec_error error;
    json_error_t problem;
    px_auto_free char *text = NULL;
    px_auto_json json_t *object = verify_request(request, submission), *verified = NULL;
    px_auto_json json_t *code = json_stringn(px_buffer_string(&submission->code), submission->code.length);
    pyexec_request *run = px_dialect_run(request, code, &error);
    int status = run && object ? px_run_request_verify(request, run, object, &text, &error) : px_error_oom(&error);
    if (status == 0)
        verified = px_json_read(text, strlen(text), JSON_ALLOW_NUL, &problem);
    if (status == 0 && !verified)
        status = px_error_oom(&error);
    if (status < 0)
        failed(request, &error);
    else
        answer(request, submission, verified);
    pyexec_request_free(run);
}

static void submit_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto(submission_done) struct submission submission = {0};
    json_t *body = px_dialect_body(request, &error);
    if (!body) {
        if (!px_dialect_failed(request, &error))
            px_fusion_refuse(request, NULL, "json_invalid", error.message);
        return;
    }
    if (!read_submission(request, body, &submission))
        return;
    px_code_of_answer(&submission.code, json_string_value(json_object_get(body, "completion")));
    verify(request, &submission);
}

void px_fusion_submit(struct px_http_request *request)
{
    pyexec_error error;
    if (px_http_request_move_apart(request, submit_now, &error) < 0)
        px_respond_error(request, &error);
}
