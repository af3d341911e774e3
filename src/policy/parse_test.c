/* SPDX-License-Identifier: Apache-2.0 */
/* Parses one value at a time: every kind, from text and from JSON, valid and invalid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "policy/config.h"
#include "policy/fields.h"

/* The compact JSON that a key has afterwards, or NULL when the value must be refused. */
struct row {
    const char *key, *given, *expected;
};

static void check_refused(const pyexec_error *error, const char *key)
{
    assert_int_equal(error->code, PYEXEC_INVALID_POLICY);
    assert_non_null(strstr(error->message, key));
    assert_non_null(strstr(error->message, "accepted is"));
    assert_true(strlen(error->hint) > 0);
    assert_true(px_utf8_valid(error->message, strlen(error->message), NULL));
}

static void check_value(json_t *object, const char *key, const char *expected)
{
    px_auto_free char *text = json_dumps(json_object_get(object, key), JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(object);
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static const struct row text_rows[] = {
    {"timeout_ms", "5s", "5000"},
    {"timeout_ms", "500ms", "500"},
    {"timeout_ms", "2m", "120000"},
    {"timeout_ms", "1h", "3600000"},
    {"timeout_ms", "24h", "86400000"},
    {"timeout_ms", "0005S", "5000"},
    {"timeout_ms", "250", "250"}, /* the name has the unit */
    {"timeout_ms", "1ms", "1"},
    {"timeout_ms", "0ms", NULL},
    {"timeout_ms", "25h", NULL},
    {"timeout_ms", "86400001ms", NULL},
    {"timeout_ms", "5 s", NULL},
    {"timeout_ms", " 5s", NULL},
    {"timeout_ms", "5s ", NULL},
    {"timeout_ms", "s", NULL},
    {"timeout_ms", "", NULL},
    {"timeout_ms", "-5s", NULL},
    {"timeout_ms", "+5s", NULL},
    {"timeout_ms", "1.5s", NULL},
    {"timeout_ms", "5d", NULL},
    {"timeout_ms", "5sec", NULL},
    {"timeout_ms", "none", NULL},
    {"timeout_ms", "9223372036854775807h", NULL},
    {"timeout_ms", "99999999999999999999ms", NULL},
    {"timeout_ms", "99999999999999999999", NULL},
    {"cpu_time_seconds", "1", "1"},
    {"cpu_time_seconds", "86400", "86400"},
    {"cpu_time_seconds", "none", "null"},
    {"cpu_time_seconds", "0", NULL},
    {"cpu_time_seconds", "86401", NULL},
    {"cpu_time_seconds", "2s", NULL},
    {"cpu_time_seconds", "None", NULL},
    {"cpu_time_seconds", "null", NULL},
    {"cpu_time_seconds", "0x10", NULL},
    {"cpu_time_seconds", "1e3", NULL},
    {"cpu_time_seconds", "-9223372036854775808", NULL},
    {"address_space_bytes", "512M", "536870912"},
    {"address_space_bytes", "512m", "536870912"},
    {"address_space_bytes", "512MB", "536870912"},
    {"address_space_bytes", "512MiB", "536870912"},
    {"address_space_bytes", "512mIb", "536870912"},
    {"address_space_bytes", "2G", "2147483648"},
    {"address_space_bytes", "65536K", "67108864"},
    {"address_space_bytes", "67108864", "67108864"},
    {"address_space_bytes", "67108864B", "67108864"},
    {"address_space_bytes", "none", "null"},
    {"address_space_bytes", "67108863", NULL},
    {"address_space_bytes", "1.5G", NULL},
    {"address_space_bytes", "1T", NULL},
    {"address_space_bytes", "512Mi", NULL},
    {"address_space_bytes", "512 M", NULL},
    {"address_space_bytes", "9223372036854775807", "9223372036854775807"},
    {"address_space_bytes", "9223372036854775808", NULL},
    {"address_space_bytes", "8589934592G", NULL},
    {"max_open_files", "0", "0"},
    {"max_open_files", "4096", "4096"},
    {"max_open_files", "4097", NULL},
    {"max_stdout_bytes", "0", "0"},
    {"max_stdout_bytes", "256M", "268435456"},
    {"max_stdout_bytes", "268435457", NULL},
    {"max_stderr_bytes", "1k", "1024"},
    {"max_stderr_bytes", "1G", NULL},
    {"max_value_bytes", "16M", "16777216"},
    {"max_value_bytes", "17M", NULL},
    {"workspace_bytes", "64G", "68719476736"},
    {"workspace_bytes", "0", "0"},
    {"workspace_bytes", "65G", NULL},
    {"workspace_bytes", "none", NULL},
    {"max_threads", "256", "256"},
    {"max_threads", "0", NULL},
    {"max_threads", "257", NULL},
    {"max_tool_calls", "1000000", "1000000"},
    {"max_tool_calls", "1000001", NULL},
    {"max_tool_calls", "none", NULL},
    {"tool_timeout_ms", "30s", "30000"},
    {"tool_timeout_ms", "none", "null"},
    {"tool_timeout_ms", "721h", NULL},
    {"disable_open", "false", "false"},
    {"disable_open", "true", "true"},
    {"disable_open", "TRUE", NULL},
    {"disable_open", "1", NULL},
    {"disable_open", "yes", NULL},
    {"disable_open", "", NULL},
    {"disable_networking", "maybe", NULL},
    {"allow_readonly_open", "true", "true"},
    {"use_import_whitelist", "false", "false"},
    {"block_dunder_imports", "false", "false"},
    {"print_last_expression", "false", "false"},
    {"isolate_site", "false", "false"},
    {"forkable", "true", "true"},
    {"auto_checkpoint", "true", "true"},
    {"max_checkpoints", "64", "64"},
    {"max_checkpoints", "0", NULL},
    {"python_bin", "/usr/bin/python3.11", "\"/usr/bin/python3.11\""},
    {"python_bin", "none", "\"none\""},
    {"python_bin", "", NULL},
    {"python_bin", "py\nthon", NULL},
    {"python_bin", "py\xFFthon", NULL},
    {"allowed_imports", "", "[]"},
    {"allowed_imports", " \t", "[]"},
    {"allowed_imports", "math", "[\"math\"]"},
    {"allowed_imports", " math , re,math", "[\"math\",\"re\"]"},
    {"allowed_imports", "_a1,\xC3\xA9t\xC3\xA9,\xE5\x90\x8D", "[\"_a1\",\"\xC3\xA9t\xC3\xA9\",\"\xE5\x90\x8D\"]"},
    {"allowed_imports", "os.path", NULL},
    {"allowed_imports", "*", NULL},
    {"allowed_imports", "1a", NULL},
    {"allowed_imports", "a b", NULL},
    {"allowed_imports", "a,,b", NULL},
    {"allowed_imports", "a,", NULL},
    {"allowed_imports", ",a", NULL},
    {"allowed_imports", "a;b", NULL},
    {"allowed_imports", "a\xFF", NULL},
    {"allowed_imports", "a\xED\xA0\x80", NULL},
    {"allowed_imports", "a\u202Eb", NULL},
    {"allowed_imports", "a\u00A0b", NULL},
    {"banned_imports", "os,sys", "[\"os\",\"sys\"]"},
    {"banned_imports", "os-sys", NULL},
    {"preload_imports", "numpy,matplotlib.pyplot", "[\"numpy\",\"matplotlib.pyplot\"]"},
    {"preload_imports", "a..b", NULL},
    {"preload_imports", ".a", NULL},
    {"preload_imports", "a.", NULL},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(text_rows); i++) {
        const struct row *row = &text_rows[i];
        pyexec_error error;
        px_auto(px_policy_done) struct px_policy policy;
        assert_int_equal(px_policy_init(&policy, &error), 0);
        int status = px_policy_set_text(&policy, row->key, row->given, PX_ORIGIN_FLAG, &error);
        if ((status == 0) != !!row->expected)
            fail_msg("%s = '%s': %d", row->key, row->given, status);
        if (row->expected)
            check_value(px_policy_to_json(&policy), row->key, row->expected);
        else
            check_refused(&error, row->key);
    }
}

static const struct row json_rows[] = {
    {"timeout_ms", "5000", "5000"},
    {"timeout_ms", "\"5s\"", "5000"},
    {"timeout_ms", "\"5000\"", NULL},
    {"timeout_ms", "\"none\"", NULL},
    {"timeout_ms", "0", NULL},
    {"timeout_ms", "-1", NULL},
    {"timeout_ms", "5000.0", NULL},
    {"timeout_ms", "true", NULL},
    {"timeout_ms", "null", NULL},
    {"timeout_ms", "[5]", NULL},
    {"timeout_ms", "{\"s\":5}", NULL},
    {"cpu_time_seconds", "null", "null"},
    {"cpu_time_seconds", "3", "3"},
    {"cpu_time_seconds", "\"3\"", NULL},
    {"cpu_time_seconds", "1.5", NULL},
    {"cpu_time_seconds", "true", NULL},
    {"cpu_time_seconds", "false", NULL},
    {"cpu_time_seconds", "-9223372036854775808", NULL}, /* PX_NONE is not a number */
    {"address_space_bytes", "-9223372036854775808", NULL},
    {"address_space_bytes", "\"1GiB\"", "1073741824"},
    {"address_space_bytes", "\"none\"", NULL},
    {"address_space_bytes", "1e9", NULL},
    {"max_open_files", "null", "null"},
    {"max_stdout_bytes", "null", NULL},
    {"disable_open", "false", "false"},
    {"disable_open", "0", NULL},
    {"disable_open", "\"false\"", NULL},
    {"disable_open", "null", NULL},
    {"python_bin", "\"python3.12\"", "\"python3.12\""},
    {"python_bin", "\"\"", NULL},
    {"python_bin", "\"a\\u0000b\"", NULL},
    {"python_bin", "\"a\\u001bb\"", NULL},
    {"python_bin", "null", NULL},
    {"python_bin", "3", NULL},
    {"python_bin", "[\"python3\"]", NULL},
    {"allowed_imports", "[]", "[]"},
    {"allowed_imports", "[\"a\",\"b\",\"a\"]", "[\"a\",\"b\"]"},
    {"allowed_imports", "[\"\\u00e9\"]", "[\"\xC3\xA9\"]"},
    {"allowed_imports", "[\"a,b\"]", NULL},
    {"allowed_imports", "[\" a\"]", NULL},
    {"allowed_imports", "[\"a\\u0000b\"]", NULL},
    {"allowed_imports", "[\"\"]", NULL},
    {"allowed_imports", "[1]", NULL},
    {"allowed_imports", "[null]", NULL},
    {"allowed_imports", "[[\"a\"]]", NULL},
    {"allowed_imports", "[{}]", NULL},
    {"allowed_imports", "\"a,b\"", NULL},
    {"allowed_imports", "{\"a\":1}", NULL},
    {"allowed_imports", "null", NULL},
    {"preload_imports", "[\"os.path\"]", "[\"os.path\"]"},
    {"preload_imports", "[\"os path\"]", NULL},
};

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(json_rows); i++) {
        const struct row *row = &json_rows[i];
        pyexec_error error;
        px_auto(px_policy_done) struct px_policy policy;
        assert_int_equal(px_policy_init(&policy, &error), 0);
        json_t *value = json_loads(row->given, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        json_t *object = json_object();
        assert_int_equal(json_object_set_new(object, row->key, value), 0);
        int status = px_policy_merge_json(&policy, object, PX_ORIGIN_REQUEST, &error);
        json_decref(object);
        if ((status == 0) != !!row->expected)
            fail_msg("%s: %s gave %d", row->key, row->given, status);
        if (row->expected)
            check_value(px_policy_to_json(&policy), row->key, row->expected);
        else
            check_refused(&error, row->key);
    }
}

static const struct row host_rows[] = {
    {"allow_missing", "", "[]"},
    {"allow_missing", "landlock, cgroup", "[\"landlock\",\"cgroup\"]"},
    {"allow_missing", "landlok", NULL},
    {"zygotes", "1", "1"},
    {"zygotes", "0", NULL},
    {"pool_size", "0", "0"},
    {"pool_size", "1025", NULL},
    {"pool_idle", "5m", "300000"},
    {"pool-idle", "90s", NULL}, /* accepted, as pool_idle is; its value is not checked */
    {"pool_idle", "300", "300000"},
    {"uid_range", "none", "null"},
    {"uid_range", "100000:65536", "\"100000:65536\""},
    {"uid_range", "100000", NULL},
    {"uid_range", "0:10", NULL},
    {"uid_range", "10:0", NULL},
    {"uid_range", "4294967295:1", NULL},
    {"uid_range", "4294967290:5", "\"4294967290:5\""},
    {"uid_range", "99999999999999999999:1", NULL},
    {"uid_range", "1:2:3", NULL},
    {"uid_range", "1:", NULL},
    {"uid_range", ":1", NULL},
    {"uid_range", "a:b", NULL},
    {"cgroup", "auto", "\"auto\""},
    {"cgroup", "off", "\"off\""},
    {"cgroup", "/sys/fs/cgroup/pyexec", "\"/sys/fs/cgroup/pyexec\""},
    {"cgroup", "/sys/fs/cgroup/..", NULL},
    {"cgroup", "/../x", NULL},
    {"cgroup", "/a..b/c", "\"/a..b/c\""},
    {"cgroup", "on", NULL},
    {"cgroup", "none", NULL},
    {"cgroup", "", NULL},
    {"queue_length", "0", "0"},
    {"max_concurrent", "0", "0"},
    {"max_concurrent", "5000", NULL},
};

static void test_host(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(host_rows); i++) {
        const struct row *row = &host_rows[i];
        pyexec_error error;
        px_auto(px_host_done) struct px_host host;
        assert_int_equal(px_host_init(&host, &error), 0);
        if (strchr(row->key, '-')) {
            assert_int_equal(px_host_set_text(&host, row->key, row->given, &error), 0);
            continue;
        }
        int status = px_host_set_text(&host, row->key, row->given, &error);
        if ((status == 0) != !!row->expected)
            fail_msg("%s = '%s': %d", row->key, row->given, status);
        if (row->expected)
            check_value(px_host_to_json(&host), row->key, row->expected);
        else
            check_refused(&error, row->key);
    }
}

static void test_uid_range(void **state)
{
    (void)state;
    uint32_t start = 0, count = 0;
    assert_true(px_host_uid_range("100000:65536", &start, &count));
    assert_int_equal(start, 100000);
    assert_int_equal(count, 65536);
    assert_false(px_host_uid_range(NULL, &start, &count));
    assert_false(px_host_uid_range("x", &start, &count));
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"unix:/run/x.sock", "127.0.0.1:8000", "localhost:0",
                                       "[::1]:65535",      "a:1,unix:/b",    ""};
    static const char *const bad[] = {"unix:x.sock",
                                      "unix:",
                                      "8000",
                                      ":8000",
                                      "::1:80",
                                      "[]:80",
                                      "a:",
                                      "a:65536",
                                      "a:b",
                                      "a:1,",
                                      "a b:1",
                                      "/x:1",
                                      ("unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
                                       "0123456789012345678901234567890123456789")};
    pyexec_error error;
    px_auto(px_serve_config_done) struct px_serve_config serve;
    assert_int_equal(px_serve_config_init(&serve, &error), 0);
    for (size_t i = 0; i < PX_COUNT(good); i++)
        assert_int_equal(px_serve_config_set_text(&serve, "listen", good[i], &error), 0);
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        if (px_serve_config_set_text(&serve, "listen", bad[i], &error) == 0)
            fail_msg("%s", bad[i]);
        check_refused(&error, "listen");
    }
}

static void test_bounds(void **state)
{
    (void)state;
    pyexec_error error;
    px_auto(px_policy_done) struct px_policy policy;
    assert_int_equal(px_policy_init(&policy, &error), 0);

    char name[PX_FIELD_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[PX_FIELD_NAME_MAX] = '\0';
    assert_int_equal(px_policy_set_text(&policy, "allowed_imports", name, PX_ORIGIN_FLAG, &error), 0);
    name[PX_FIELD_NAME_MAX] = 'a';
    name[PX_FIELD_NAME_MAX + 1] = '\0';
    assert_int_equal(px_policy_set_text(&policy, "allowed_imports", name, PX_ORIGIN_FLAG, &error), -1);
    check_refused(&error, "allowed_imports");

    px_auto_buffer struct px_buffer list = {0};
    for (int i = 0; i < PX_NAMES_MAX; i++)
        px_buffer_printf(&list, "%sm%d", i ? "," : "", i);
    assert_int_equal(px_policy_set_text(&policy, "allowed_imports", list.data, PX_ORIGIN_FLAG, &error), 0);
    assert_int_equal(policy.allowed_imports.count, PX_NAMES_MAX);
    assert_int_equal(px_policy_add_names(&policy, PX_FIELD_allowed_imports, "more", PX_ORIGIN_FLAG, &error), -1);
    assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
}

static void test_show(void **state)
{
    (void)state;
    char shown[PX_SHOWN_MAX];
    assert_string_equal(px_show("a\n\x1B[1m\x7F\xFF\xC2\x85", 10, shown), "'a??[1m??\?'");
    char text[1000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x92\xA9", 5);
        px_show(text, strlen(text), shown);
        assert_true(strlen(shown) < PX_SHOWN_MAX);
        assert_true(px_utf8_valid(shown, strlen(shown), NULL));
    }
}

/* The message says what is accepted, in the units of the key. */
static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *key, *given, *message;
    } rows[] = {
        {"timeout", "5 s",
         "timeout_ms can't be '5 s'; accepted is a duration such as 500ms, 5s, 2m or 1h (an integer without a unit: seconds, in JSON milliseconds), from 1ms to 24h"},
        {"cpu_time_seconds", "0",
         "cpu_time_seconds can't be '0'; accepted is an integer, from 1 to 86400, or none (in JSON null)"},
        {"address_space_bytes", "1M",
         "address_space_bytes can't be '1M'; accepted is bytes or an integer with K, M or G, at least 64M, or none (in JSON null)"},
        {"workspace_bytes", "x",
         "workspace_bytes can't be 'x'; accepted is bytes or an integer with K, M or G, from 0 to 64G"},
        {"disable_open", "no", "disable_open can't be 'no'; accepted is true or false"},
        {"allowed_imports", "a,os.path",
         "allowed_imports can't be 'os.path'; accepted is top-level module names, comma-separated (in JSON an array)"},
    };
    pyexec_error error;
    px_auto(px_policy_done) struct px_policy policy;
    assert_int_equal(px_policy_init(&policy, &error), 0);
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        assert_int_equal(px_policy_set_text(&policy, rows[i].key, rows[i].given, PX_ORIGIN_FLAG, &error), -1);
        assert_string_equal(error.message, rows[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_json),      cmocka_unit_test(test_host),
        cmocka_unit_test(test_uid_range), cmocka_unit_test(test_addresses), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_show),      cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
