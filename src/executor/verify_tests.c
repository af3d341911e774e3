/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/verify_tests.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/spelling.h"

#define VERIFY_SHOWN_BYTES 4096
#define TARGET_MAX 500

static const struct {
    const char *name, *keys; /* the keys that such a test may have */
} kinds[] = {
    [PX_VERIFY_STDIN] = {"stdin", "stdin expect_stdout"},
    [PX_VERIFY_CALL] = {"call", "call args kwargs expect"},
    [PX_VERIFY_CODE] = {"code", "code"},
};

const char *px_verify_kind_name(enum px_verify_kind kind)
{
    return kinds[kind].name;
}

/* A value has a form that stands for nothing. */
static int refuse_value(size_t index, const char *member, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "tests[%zu]: %s: %s", index, member, what);
    return px_error_hint(
        error, "docs/verify.md has the forms of values, such as {\"$tuple\": [1, 2]} and {\"$int\": \"digits\"}.");
}

static int refuse(size_t index, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "tests[%zu]: %s", index, what);
    return px_error_hint(error,
                         "A test is {\"stdin\", \"expect_stdout\"}, {\"call\", \"args\", \"kwargs\", \"expect\"} or "
                         "{\"code\"}.");
}

/* True for `f`, `module.f` and `Solution().f`. */
static bool is_target(const char *text)
{
    size_t length = strlen(text);
    bool fresh = true; /* a name must begin here */
    for (size_t i = 0; i < length; i++) {
        bool letter = (text[i] | 32) >= 'a' && (text[i] | 32) <= 'z';
        bool inside = letter || text[i] == '_' || (unsigned char)text[i] >= 0x80;
        if (inside || (!fresh && text[i] >= '0' && text[i] <= '9')) {
            fresh = false;
        } else if (!fresh && text[i] == '(' && text[i + 1] == ')' && text[i + 2] == '.') {
            i += 2;
            fresh = true;
        } else if (!fresh && text[i] == '.') {
            fresh = true;
        } else {
            return false;
        }
    }
    return !fresh && length <= TARGET_MAX;
}

static int check_value(const json_t *item, const char *member, size_t index, pyexec_error *error)
{
    const char *wrong = px_compare_check(json_object_get(item, member));
    return wrong ? refuse_value(index, member, wrong, error) : 0;
}

static int read_call(struct px_verify_test *test, json_t *item, size_t index, pyexec_error *error)
{
    json_t *target = json_object_get(item, "call"), *args = json_object_get(item, "args");
    json_t *kwargs = json_object_get(item, "kwargs");
    const char *name = json_string_value(target);
    test->expected = json_object_get(item, "expect");
    if (!name || strlen(name) != json_string_length(target) || !is_target(name))
        return refuse(index, "call: not the name of a function, such as f, module.f or Solution().f", error);
    if (args && !json_is_array(args))
        return refuse(index, "args: not a list", error);
    if (kwargs && !json_is_object(kwargs))
        return refuse(index, "kwargs: not an object", error);
    if (!test->expected)
        return refuse(index, "expect: missing", error);
    if (check_value(item, "expect", index, error) < 0 || check_value(item, "args", index, error) < 0 ||
        check_value(item, "kwargs", index, error) < 0)
        return -1;
    px_auto_json json_t *call =
        json_pack("{s:O, s:o, s:o}", "call", target, "args", args ? json_incref(args) : json_array(), "kwargs",
                  kwargs ? json_incref(kwargs) : json_object());
    test->call = px_json_dumps(call, JSON_COMPACT);
    return test->call ? 0 : px_error_oom(error);
}

static int read_stdin(struct px_verify_test *test, const json_t *item, size_t index, pyexec_error *error)
{
    test->input = json_object_get(item, "stdin");
    test->expected = json_object_get(item, "expect_stdout");
    if (test->input && !json_is_string(test->input))
        return refuse(index, "stdin: not a string", error);
    if (!test->expected)
        return refuse(index, test->input ? "expect_stdout: missing" : "neither stdin, expect_stdout, call nor code",
                      error);
    return json_is_string(test->expected) ? 0 : refuse(index, "expect_stdout: not a string", error);
}

static int read_code(struct px_verify_test *test, const json_t *item, size_t index, pyexec_error *error)
{
    test->code = json_object_get(item, "code");
    return json_is_string(test->code) ? 0 : refuse(index, "code: not a string", error);
}

static int read_test(struct px_verify_test *test, json_t *item, size_t index, pyexec_error *error)
{
    const char *key;
    json_t *value;
    test->kind = json_object_get(item, "call")   ? PX_VERIFY_CALL
                 : json_object_get(item, "code") ? PX_VERIFY_CODE
                                                 : PX_VERIFY_STDIN;
    if (!json_is_object(item))
        return refuse(index, "not an object", error);
    json_object_foreach(item, key, value)
        if (!px_word_is_listed(kinds[test->kind].keys, key)) {
            char text[200];
            snprintf(text, sizeof text, "'%.100s' is not a member of a %s test", key, kinds[test->kind].name);
            return refuse(index, text, error);
        }
    switch (test->kind) {
    case PX_VERIFY_CALL:
        return read_call(test, item, index, error);
    case PX_VERIFY_CODE:
        return read_code(test, item, index, error);
    default:
        return read_stdin(test, item, index, error);
    }
}

static int read_tests(struct px_verify_tests *tests, pyexec_error *error)
{
    const json_t *list = json_object_get(tests->object, "tests");
    size_t count = json_array_size(list);
    if (count < 1 || count > PX_VERIFY_TESTS_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "tests: not a list of 1 to %d tests", PX_VERIFY_TESTS_MAX);
        return px_error_hint(error, "Send the tests as a list; split a longer one into several requests.");
    }
    tests->tests = calloc(count, sizeof *tests->tests);
    if (!tests->tests)
        return px_error_oom(error);
    for (; tests->count < count; tests->count++) {
        struct px_verify_test *test = &tests->tests[tests->count];
        if (read_test(test, json_array_get(list, tests->count), tests->count, error) < 0) {
            free(test->call);
            return -1;
        }
        tests->counts[test->kind]++;
    }
    return 0;
}

static bool take_tolerance(const json_t *object, const char *name, double *ret)
{
    const json_t *value = json_object_get(object, name);
    *ret = json_number_value(value);
    return !value || (json_is_number(value) && *ret >= 0 && isfinite(*ret));
}

static int read_compare(struct px_verify_tests *tests, pyexec_error *error)
{
    json_t *compare = json_object_get(tests->object, "compare"), *value;
    const char *word = json_string_value(compare), *key;
    struct px_compare *ret = &tests->compare;
    bool good = !compare || (word && px_word_is_listed("exact tokens lines", word));
    if (good && word)
        ret->how = *word == 't' ? PX_COMPARE_TOKENS : *word == 'l' ? PX_COMPARE_LINES : PX_COMPARE_EXACT;
    if (json_object_size(compare) > 0) {
        ret->how = PX_COMPARE_NUMBERS;
        good = take_tolerance(compare, "rel", &ret->rel) && take_tolerance(compare, "abs", &ret->abs);
        json_object_foreach(compare, key, value)
            good &= strcmp(key, "rel") == 0 || strcmp(key, "abs") == 0;
    }
    if (good)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "compare: not \"exact\", \"tokens\", \"lines\" or {\"rel\": number, \"abs\": number}");
    return px_error_hint(error, "Tolerances are numbers that are not negative; one of the two is enough.");
}

static int read_own(struct px_verify_tests *tests, pyexec_error *error)
{
    const json_t *stop = json_object_get(tests->object, "stop_on_fail");
    const json_t *output = json_object_get(tests->object, "output_bytes");
    json_int_t bytes = output ? json_integer_value(output) : VERIFY_SHOWN_BYTES;
    tests->each = json_object_get(tests->object, "each");
    tests->stop_on_fail = json_is_true(stop);
    tests->output_bytes = (size_t)bytes;
    if (stop && !json_is_boolean(stop)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "stop_on_fail: must be true or false");
        return px_error_hint(error, "Send stop_on_fail as true or false.");
    }
    if ((output && !json_is_integer(output)) || bytes < 0 || bytes > PX_VERIFY_OUTPUT_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "output_bytes: not a number from 0 to %d", PX_VERIFY_OUTPUT_MAX);
        return px_error_hint(error, "It is how much of each test's output the answer shows.");
    }
    if (tests->each && !json_is_object(tests->each)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "each: not an object");
        return px_error_hint(error, "Send the limits of each test, such as {\"timeout_ms\": 2000}.");
    }
    return 0;
}

/* What verify takes besides what an execution has. */
#define OWN "solution tests compare stop_on_fail each output_bytes"
#define SHARED "policy policy_defaults timeout_ms print_last_expression env files working_dir traceparent tracestate"

static int refuse_unknown(const char *key, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%.100s: verify takes no such member", key);
    return px_error_hint(error, "The members are: " OWN " " SHARED ". Each test has its own stdin and arguments.");
}

static int read_rest(struct px_verify_tests *tests, pyexec_error *error)
{
    json_t *solution = json_object_get(tests->object, "solution"), *value;
    const char *key;
    if (!json_is_string(solution)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "solution: not a string");
        return px_error_hint(error, "Send the code that is tested as `solution`.");
    }
    tests->rest = json_object();
    json_object_foreach(tests->object, key, value) {
        if (px_word_is_listed(SHARED, key))
            px_json_set(tests->rest, key, json_incref(value));
        else if (!px_word_is_listed(OWN, key))
            return refuse_unknown(key, error);
    }
    px_json_set(tests->rest, "code", json_incref(solution));
    return json_object_get(tests->rest, "code") ? 0 : px_error_oom(error);
}

int px_verify_tests_read(struct px_verify_tests *ret, json_t *object, pyexec_error *error)
{
    *ret = (struct px_verify_tests){.object = json_incref(object)};
    if (!json_is_object(object)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the request of verify is not an object");
        return px_error_hint(error, "Send {\"solution\": code, \"tests\": [...]}.");
    }
    return read_compare(ret, error) < 0 || read_own(ret, error) < 0 || read_tests(ret, error) < 0
               ? -1
               : read_rest(ret, error);
}

void px_verify_tests_done(struct px_verify_tests *tests)
{
    for (size_t i = 0; i < tests->count; i++)
        free(tests->tests[i].call);
    free(tests->tests);
    json_decref(tests->rest);
    json_decref(tests->object);
}
