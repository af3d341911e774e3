/* SPDX-License-Identifier: Apache-2.0 */
/* Ceilings, field by field: what is refused and with which words, and what is lowered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/policy.h"

static void merge(struct px_policy *policy, const char *text, enum px_origin origin)
{
    pyexec_error error;
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_int_equal(px_policy_merge_json(policy, object, origin, &error), 0);
    json_decref(object);
}

/* The defaults, with `own` as the executor's policy, and over it the ceiling and the request. */
static int limit(const char *own, const char *ceiling, const char *request, bool later, struct px_policy *ret,
                 pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy most = {0};
    assert_int_equal(px_policy_init(ret, error), 0);
    merge(ret, own, PX_ORIGIN_FLAG);
    assert_int_equal(px_policy_copy(&most, ret, error), 0);
    merge(&most, ceiling, PX_ORIGIN_FLAG);
    merge(ret, request, PX_ORIGIN_REQUEST);
    return px_policy_limit(ret, &most, later, error);
}

/* Each field: at its ceiling, below it, and above it. */
static void test_asked(void **state)
{
    static const struct {
        const char *own, *ceiling, *within, *beyond, *message, *hint;
    } rows[] = {
        {"{}", "{\"timeout_ms\":10000}", "{\"timeout_ms\":10000}", "{\"timeout_ms\":10001}",
         "timeout_ms: 10001 is beyond this caller's ceiling, which is 10000",
         "Ask for at most 10000, or leave timeout_ms out."},
        {"{}", "{}", "{\"timeout_ms\":1}", "{\"timeout_ms\":5001}", "timeout_ms: 5001 ", "at most 5000"},
        {"{}", "{\"cpu_time_seconds\":null}", "{\"cpu_time_seconds\":86400}", NULL, "", ""},
        {"{}", "{}", "{\"cpu_time_seconds\":2}", "{\"cpu_time_seconds\":null}", "cpu_time_seconds: null is beyond",
         "Ask for at most 2,"},
        {"{}", "{\"address_space_bytes\":1073741824}", "{\"address_space_bytes\":67108864}",
         "{\"address_space_bytes\":1073741825}", "address_space_bytes: ", "at most 1073741824"},
        {"{}", "{}", "{\"max_open_files\":16}", "{\"max_open_files\":17}", "max_open_files: 17", "most 16"},
        {"{}", "{}", "{\"max_stdout_bytes\":0}", "{\"max_stdout_bytes\":1000001}", "max_stdout_bytes: ", "1000000"},
        {"{}", "{}", "{\"max_stderr_bytes\":0}", "{\"max_stderr_bytes\":256001}", "max_stderr_bytes: ", "256000"},
        {"{}", "{}", "{\"max_value_bytes\":65536}", "{\"max_value_bytes\":65537}", "max_value_bytes: ", "65536"},
        {"{}", "{}", "{\"max_displays\":0}", "{\"max_displays\":101}", "max_displays: ", "most 100"},
        {"{}", "{}", "{\"max_display_bytes\":0}", "{\"max_display_bytes\":8388609}", "max_display_bytes: ", "8388608"},
        {"{}", "{}", "{\"workspace_bytes\":0}", "{\"workspace_bytes\":67108865}", "workspace_bytes: ", "67108864"},
        {"{}", "{}", "{\"max_tool_calls\":1}", "{\"max_tool_calls\":1001}", "max_tool_calls: 1001", "at most 1000"},
        {"{\"tool_timeout_ms\":50}", "{}", "{\"tool_timeout_ms\":5}", "{\"tool_timeout_ms\":51}", "tool_timeout_ms: 51",
         "at most 50"},
        {"{}", "{}", "{\"max_threads\":1}", "{\"max_threads\":17}", "max_threads: 17", "at most 16"},
        {"{}", "{}", "{\"disable_networking\":true}", "{\"disable_networking\":false}",
         "disable_networking: false is beyond this caller's ceiling, which is true",
         "Ask for true, or leave disable_networking out."},
        {"{\"disable_networking\":false}", "{}", "{\"disable_networking\":true}", NULL, "", ""},
        {"{}", "{}", "{\"block_dunder_imports\":true}", "{\"block_dunder_imports\":false}",
         "block_dunder_imports: ", "true"},
        {"{}", "{}", "{\"forkable\":false}", "{\"forkable\":true}",
         "forkable: true is beyond this caller's ceiling, which is false", "Ask for false, or leave forkable out."},
        {"{}", "{\"forkable\":true}", "{\"forkable\":true}", NULL, "", ""},
        {"{}", "{}", "{\"isolate_site\":true}", "{\"isolate_site\":false}", "isolate_site: false", "true"},
        {"{}", "{}", "{\"python_bin\":\"python3\"}", "{\"python_bin\":\"/bin/python3\"}",
         "python_bin: \"/bin/python3\" is beyond this caller's ceiling, which is \"python3\"", "Ask for \"python3\""},
        {"{\"preload_imports\":[\"a\",\"b\"]}", "{}", "{\"preload_imports\":[\"a\",\"b\"]}",
         "{\"preload_imports\":[\"b\",\"a\"]}", "preload_imports: [\"b\",\"a\"] is beyond", "[\"a\",\"b\"]"},
        {"{\"preload_imports\":[\"a\"]}", "{}", "{}", "{\"preload_imports\":[]}", "preload_imports: [] ", "[\"a\"]"},
        /* Environments: none, the ceiling's own, or one that it allows. */
        {"{}", "{}", "{\"environment\":\"\"}", "{\"environment\":\"data\"}",
         "environment: 'data' is beyond this caller's ceiling, which allows none", "allowed_environments"},
        {"{}", "{\"environment\":\"data\"}", "{\"environment\":\"data\"}", "{\"environment\":\"ml\"}",
         "environment: 'ml' is beyond this caller's ceiling, which allows 'data'", "ask for 'data'."},
        {"{\"allowed_environments\":[\"data\",\"ml\"]}", "{}", "{\"environment\":\"ml\"}", "{\"environment\":\"x\"}",
         "environment: 'x' is beyond this caller's ceiling, which allows 'data', 'ml'", "ask for 'data', 'ml'."},
        {"{\"allowed_environments\":[\"data\",\"ml\"]}", "{\"allowed_environments\":[\"data\"]}",
         "{\"environment\":\"data\"}", "{\"environment\":\"ml\"}", "environment: 'ml' is beyond", "'data'"},
        {"{}", "{\"allowed_environments\":[\"*\"]}", "{\"environment\":\"any\"}", NULL, "", ""},
        {"{\"print_last_expression\":true}", "{}", "{\"print_last_expression\":false}", NULL, "", ""},
        {"{}", "{\"print_last_expression\":false}", "{\"print_last_expression\":true}", NULL, "", ""},
        /* Names: each must be covered. Whoever may use the whole network may use each name. */
        {"{}", "{\"allowed_hosts\":[\"a.example\",\"*.b.example\"]}",
         "{\"allowed_hosts\":[\"x.b.example\",\"A.example:443\"]}", "{\"allowed_hosts\":[\"a.example:8443\"]}",
         "allowed_hosts: 'a.example:8443' is beyond this caller's ceiling, which does not allow it",
         "Ask for at most [\"a.example\",\"*.b.example\"]."},
        {"{}", "{\"allowed_hosts\":[\"*.b.example\"]}", "{\"allowed_hosts\":[\"*.b.example\"]}",
         "{\"allowed_hosts\":[\"b.example\"]}", "allowed_hosts: 'b.example' ", "at most [\"*.b.example\"]"},
        {"{}", "{\"allowed_hosts\":[\"*.b.example\"]}", "{\"allowed_hosts\":[]}",
         "{\"allowed_hosts\":[\"x.y.b.example\"]}", "allowed_hosts: 'x.y.b.example' ", "at most [\"*.b.example\"]"},
        {"{}", "{\"allowed_hosts\":[\"x.b.example\"]}", "{}", "{\"allowed_hosts\":[\"*.b.example\"]}",
         "allowed_hosts: '*.b.example' ", "at most"},
        {"{}", "{}", "{\"allowed_hosts\":[]}", "{\"allowed_hosts\":[\"a.example\"]}", "allowed_hosts: 'a.example' ",
         "Leave allowed_hosts out"},
        {"{\"disable_networking\":false}", "{}", "{\"allowed_hosts\":[\"a.example\"]}", NULL, "", ""},
        {"{}", "{\"allowed_hosts\":[\"a.example\"]}", "{}", "{\"disable_networking\":false}",
         "disable_networking: false is beyond this caller's ceiling", "Ask for true"},
        /* Files: none < read < full. */
        {"{}", "{}", "{\"disable_open\":true}", "{\"disable_open\":false}",
         "disable_open: full file access is beyond this caller's ceiling, which is no access", "disable_open true"},
        {"{}", "{\"disable_open\":false,\"allow_readonly_open\":true}",
         "{\"disable_open\":false,\"allow_readonly_open\":true}", "{\"disable_open\":false}",
         "disable_open: full file access", "allow_readonly_open true"},
        {"{}", "{\"disable_open\":false}", "{\"disable_open\":false,\"allow_readonly_open\":true}", NULL, "", ""},
        {"{\"disable_open\":false,\"allow_readonly_open\":true}", "{}", "{}", "{\"allow_readonly_open\":false}",
         "allow_readonly_open: full file access is beyond", "Ask for at most"},
        /* Imports, under a whitelist. */
        {"{}", "{\"allowed_imports\":[\"math\",\"os\"]}", "{\"allowed_imports\":[\"os\"]}",
         "{\"allowed_imports\":[\"os\",\"re\"]}",
         "allowed_imports: 're' is beyond this caller's ceiling, which does not allow it", "[\"math\",\"os\"]"},
        {"{}", "{}", "{\"allowed_imports\":[]}", "{\"use_import_whitelist\":false}",
         "use_import_whitelist: false is beyond", "Ask for true"},
        {"{}", "{}", "{\"banned_imports\":[]}", "{\"use_import_whitelist\":false,\"banned_imports\":[\"os\"]}",
         "use_import_whitelist: false is beyond", "Ask for true"},
        /* Under a ban list. */
        {"{}", "{\"use_import_whitelist\":false,\"banned_imports\":[\"os\"]}",
         "{\"use_import_whitelist\":false,\"banned_imports\":[\"re\",\"os\"]}",
         "{\"use_import_whitelist\":false,\"banned_imports\":[\"re\"]}",
         "banned_imports: without 'os' it is beyond this caller's ceiling, which bans it", "Add 'os'"},
        {"{}", "{\"use_import_whitelist\":false,\"banned_imports\":[\"os\"]}", "{\"allowed_imports\":[\"anything\"]}",
         "{\"allowed_imports\":[\"os\"]}", "allowed_imports: 'os' is beyond this caller's ceiling, which bans it",
         "Leave 'os' out"},
        {"{}", "{\"use_import_whitelist\":false,\"banned_imports\":[]}",
         "{\"use_import_whitelist\":false,\"banned_imports\":[]}", NULL, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        px_auto(px_policy_done) struct px_policy good = {0};
        px_auto(px_policy_done) struct px_policy bad = {0};
        pyexec_error error = {0};
        if (limit(rows[i].own, rows[i].ceiling, rows[i].within, false, &good, &error) < 0)
            fail_msg("%s under %s: %s", rows[i].within, rows[i].ceiling, error.message);
        if (!rows[i].beyond)
            continue;
        if (limit(rows[i].own, rows[i].ceiling, rows[i].beyond, false, &bad, &error) == 0)
            fail_msg("%s under %s: not refused", rows[i].beyond, rows[i].ceiling);
        assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
        if (strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0 || !strstr(error.hint, rows[i].hint))
            fail_msg("%s under %s: %s (%s)", rows[i].beyond, rows[i].ceiling, error.message, error.hint);
    }
}

/* Each number of the table is a limit that a ceiling keeps: its least value is allowed, one more is refused. */
static void test_each_number_is_kept(void **state)
{
    size_t numbers = 0;
    (void)state;
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        if (!info->maximum)
            continue;
        px_auto(px_policy_done) struct px_policy good = {0};
        px_auto(px_policy_done) struct px_policy bad = {0};
        char ceiling[128], beyond[128], message[128];
        pyexec_error error = {0};
        snprintf(ceiling, sizeof ceiling, "{\"%s\":%lld}", info->name, (long long)info->minimum);
        snprintf(beyond, sizeof beyond, "{\"%s\":%lld}", info->name, (long long)info->minimum + 1);
        snprintf(message, sizeof message, "%s: %lld is beyond", info->name, (long long)info->minimum + 1);
        assert_int_equal(limit("{}", ceiling, ceiling, false, &good, &error), 0);
        assert_int_equal(limit("{}", ceiling, beyond, false, &bad, &error), -1);
        assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
        assert_int_equal(strncmp(error.message, message, strlen(message)), 0);
        numbers++;
    }
    assert_true(numbers >= 13);
}

/* The executor's own policy may be above a caller's ceiling. The caller did not ask for these values, so they are
 * lowered and not refused. */
static void test_lowered(void **state)
{
    static const struct {
        const char *own, *ceiling, *request, *wanted;
    } rows[] = {
        {"{}", "{\"timeout_ms\":100}", "{\"max_threads\":2}", "{\"timeout_ms\":100,\"max_threads\":2}"},
        {"{\"cpu_time_seconds\":null}", "{\"cpu_time_seconds\":7}", "{}", "{\"cpu_time_seconds\":7}"},
        {"{\"disable_networking\":false}", "{\"disable_networking\":true}", "{}", "{\"disable_networking\":true}"},
        {"{}", "{\"python_bin\":\"/p\",\"preload_imports\":[\"a\"]}", "{}",
         "{\"python_bin\":\"/p\",\"preload_imports\":[\"a\"]}"},
        {"{\"disable_open\":false}", "{\"allow_readonly_open\":true}", "{}",
         "{\"disable_open\":false,\"allow_readonly_open\":true}"},
        {"{\"disable_open\":false,\"allow_readonly_open\":true}", "{\"disable_open\":true}", "{}",
         "{\"disable_open\":true,\"allow_readonly_open\":false}"},
        {"{\"use_import_whitelist\":false}", "{\"use_import_whitelist\":true,\"allowed_imports\":[\"os\"]}", "{}",
         "{\"use_import_whitelist\":true,\"allowed_imports\":[\"os\"]}"},
        {"{\"allowed_imports\":[\"a\",\"b\",\"c\",\"d\"]}", "{\"allowed_imports\":[\"d\",\"b\",\"x\"]}", "{}",
         "{\"allowed_imports\":[\"b\",\"d\"]}"},
        {"{\"allowed_imports\":[\"a\",\"b\"]}", "{\"use_import_whitelist\":false,\"banned_imports\":[\"a\"]}", "{}",
         "{\"use_import_whitelist\":true,\"allowed_imports\":[\"b\"]}"},
        {"{\"use_import_whitelist\":false,\"banned_imports\":[\"a\"]}", "{\"banned_imports\":[\"b\"]}", "{}",
         "{\"banned_imports\":[\"a\",\"b\"]}"},
        {"{\"environment\":\"data\"}", "{\"environment\":\"ml\"}", "{}", "{\"environment\":\"ml\"}"},
        {"{\"environment\":\"data\"}", "{\"environment\":\"ml\",\"allowed_environments\":[\"data\"]}", "{}",
         "{\"environment\":\"data\"}"},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        px_auto(px_policy_done) struct px_policy policy = {0};
        pyexec_error error = {0};
        if (limit(rows[i].own, rows[i].ceiling, rows[i].request, false, &policy, &error) < 0)
            fail_msg("%s under %s: %s", rows[i].own, rows[i].ceiling, error.message);
        assert_int_equal(px_policy_check(&policy, &error), 0);
        json_t *got = px_policy_to_json(&policy), *wanted = json_loads(rows[i].wanted, 0, NULL), *value;
        const char *key;
        json_object_foreach(wanted, key, value)
            if (!json_equal(json_object_get(got, key), value))
                fail_msg("%s under %s: %s", rows[i].own, rows[i].ceiling, key);
        json_decref(got);
        json_decref(wanted);
    }
}

/* The limits of a running session can't be lowered. So after a ceiling was lowered, the session can't be used any
 * more. */
static void test_later_calls(void **state)
{
    px_auto(px_policy_done) struct px_policy lowered = {0};
    px_auto(px_policy_done) struct px_policy refused = {0};
    pyexec_error error = {0};
    (void)state;
    assert_int_equal(limit("{}", "{\"timeout_ms\":9,\"max_value_bytes\":0}", "{}", true, &lowered, &error), 0);
    assert_int_equal(lowered.timeout_ms, 9);
    assert_int_equal(lowered.max_value_bytes, 0);
    static const char *const fixed[] = {"{\"max_threads\":1}", "{\"allowed_imports\":[]}", "{\"disable_open\":true}",
                                        "{\"disable_networking\":true}", "{\"python_bin\":\"/p\"}"};
    for (size_t i = 0; i < PX_COUNT(fixed); i++) {
        assert_int_equal(
            limit("{\"disable_open\":false,\"disable_networking\":false}", fixed[i], "{}", true, &refused, &error), -1);
        assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
        px_policy_done(&refused);
    }
}

/* Limits that an environment needs: 1 GiB and 30 s. Each part is NULL for one that nobody gave. */
static void test_the_needs_of_an_environment(void **state)
{
    static const char document[] =
        "{\"format\":1,\"name\":\"data\",\"hash\":\"0123456789abcdef0123456789abcdef\",\"created\":\"2026-11-30T00:00:00Z\","
        "\"tool\":\"test\",\"requirements\":[],\"python\":{\"path\":\"venv/bin/python\",\"version\":\"3.11.2\"},"
        "\"packages\":[],\"imports\":[],\"limits\":{\"address_space_bytes\":1073741824,\"timeout_ms\":30000},"
        "\"preload\":[],\"measured\":[]}";
    static const struct {
        const char *own, *ceiling, *request;
        int64_t bytes; /* of the address space that the run gets; 0: refused */
        const char *message;
    } rows[] = {
        /* What nobody gave is what the environment needs, also in the ceiling. */
        {"{}", "{}", "{\"environment\":\"data\"}", 1 << 30, NULL},
        {"{}", "{}", "{\"environment\":\"data\",\"address_space_bytes\":1073741824}", 1 << 30, NULL},
        {"{}", "{}", "{\"environment\":\"data\",\"address_space_bytes\":1073741825}", 0,
         "address_space_bytes: 1073741825 is"},
        /* More stays. */
        {"{\"address_space_bytes\":null}", "{}", "{\"environment\":\"data\"}", PX_NONE, NULL},
        {"{\"address_space_bytes\":2147483648}", "{}", "{\"environment\":\"data\"}", INT64_C(1) << 31, NULL},
        /* A ceiling below the need is an error, unless the request asks for less itself. */
        {"{}", "{\"address_space_bytes\":536870912}", "{\"environment\":\"data\"}", 0,
         "address_space_bytes: the environment 'data' needs 1073741824, and this caller's ceiling is 536870912"},
        {"{\"address_space_bytes\":536870912}", "{}", "{\"environment\":\"data\"}", 0,
         "address_space_bytes: the environment 'data' needs 1073741824"},
        {"{}", "{\"address_space_bytes\":536870912}", "{\"environment\":\"data\",\"address_space_bytes\":536870912}",
         1 << 29, NULL},
        {"{\"address_space_bytes\":2147483648}", "{\"address_space_bytes\":536870912}", "{\"environment\":\"data\"}", 0,
         "address_space_bytes: the environment 'data' needs"},
        {"{}", "{\"timeout_ms\":29999}", "{\"environment\":\"data\"}", 0,
         "timeout_ms: the environment 'data' needs 30000"},
        /* The operator gave less for the environment that the operator chose. */
        {"{\"environment\":\"data\",\"address_space_bytes\":536870912}", "{}", "{}", 1 << 29, NULL},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        px_auto(px_policy_done) struct px_policy policy = {0};
        px_auto(px_policy_done) struct px_policy most = {0};
        pyexec_error error = {0};
        const char *folder = "/e/store/0123456789abcdef0123456789abcdef";
        assert_int_equal(px_policy_init(&policy, &error), 0);
        merge(&policy, rows[i].own, PX_ORIGIN_FLAG);
        assert_int_equal(px_policy_copy(&most, &policy, &error), 0);
        merge(&most, "{\"allowed_environments\":[\"data\"]}", PX_ORIGIN_FLAG);
        merge(&most, rows[i].ceiling, PX_ORIGIN_REQUEST);
        merge(&policy, rows[i].request, PX_ORIGIN_REQUEST);
        if (px_environment_parse(document, strlen(document), "data", folder, &policy.env, &error) < 0)
            fail_msg("%s (%s)", error.message, error.hint);
        px_policy_raise(&policy, policy.env);
        px_policy_raise(&most, policy.env);
        int status = px_policy_limit(&policy, &most, false, &error);
        if (status < 0 && (!rows[i].message || strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0))
            fail_msg("row %zu: %s (%s)", i, error.message, error.hint);
        assert_int_equal(status, rows[i].message ? -1 : 0);
        if (status == 0)
            assert_int_equal(policy.address_space_bytes, rows[i].bytes);
    }
}

/* So px_request_policy() need not limit the policy of a request that asks for nothing, under an empty ceiling. */
static void test_no_policy_is_beyond_itself(void **state)
{
    static const char *const owns[] = {
        "{}",
        "{\"cpu_time_seconds\":null,\"disable_networking\":false,\"python_bin\":\"/p\",\"preload_imports\":[\"a\",\"b\"]}",
        "{\"disable_open\":false}",
        "{\"disable_open\":false,\"allow_readonly_open\":true}",
        "{\"use_import_whitelist\":false,\"banned_imports\":[\"a\",\"b\"]}",
        "{\"use_import_whitelist\":false,\"banned_imports\":[]}",
        "{\"allowed_imports\":[\"b\",\"a\"]}",
        "{\"allowed_imports\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(owns) * 2; i++) {
        px_auto(px_policy_done) struct px_policy policy = {0};
        px_auto(px_policy_done) struct px_policy own = {0};
        pyexec_error error = {0};
        assert_int_equal(px_policy_init(&own, &error), 0);
        merge(&own, owns[i / 2], PX_ORIGIN_FLAG);
        if (limit(owns[i / 2], "{}", "{}", i % 2, &policy, &error) < 0)
            fail_msg("%s: %s", owns[i / 2], error.message);
        if (!px_policy_equal(&policy, &own))
            fail_msg("%s is changed by a ceiling that is the same", owns[i / 2]);
    }
}

static void test_equal_means_every_field(void **state)
{
    px_auto(px_policy_done) struct px_policy one = {0};
    px_auto(px_policy_done) struct px_policy null = {0};
    pyexec_error error = {0};
    (void)state;
    assert_int_equal(px_policy_init(&one, &error), 0);
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        px_auto(px_policy_done) struct px_policy other = {0};
        px_auto_json json_t *values = px_policy_to_json(&one);
        const char *name = px_policy_field_info(field)->name;
        json_t *value = json_object_get(values, name), *changed = NULL;
        if (json_is_boolean(value))
            changed = json_boolean(!json_is_true(value));
        else if (json_is_array(value))
            changed = json_pack("[s]", "other");
        else if (json_is_string(value))
            changed = json_string("other");
        else
            changed = json_integer(px_policy_field_info(field)->minimum +
                                   (json_integer_value(value) == px_policy_field_info(field)->minimum + 1 ? 2 : 1));
        px_auto_json json_t *object = json_pack("{s:o}", name, changed);
        assert_int_equal(px_policy_copy(&other, &one, &error), 0);
        assert_true(px_policy_equal(&one, &other));
        if (px_policy_merge_json(&other, object, PX_ORIGIN_FLAG, &error) < 0)
            fail_msg("%s: %s", name, error.message);
        if (px_policy_equal(&one, &other))
            fail_msg("%s differs", name);
    }
    assert_false(px_policy_equal(&one, &null));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_each_number_is_kept),
        cmocka_unit_test(test_lowered),
        cmocka_unit_test(test_later_calls),
        cmocka_unit_test(test_the_needs_of_an_environment),
        cmocka_unit_test(test_no_policy_is_beyond_itself),
        cmocka_unit_test(test_equal_means_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
