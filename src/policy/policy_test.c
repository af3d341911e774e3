/* SPDX-License-Identifier: Apache-2.0 */
/* The policy as a whole: defaults, merges, origins, contradictions, names, texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/config.h"
#include "policy/policy.h"

struct fixture {
    struct px_policy policy;
    pyexec_error error;
};

static int setup(void **state)
{
    static struct fixture fixture;
    *state = &fixture;
    return px_policy_init(&fixture.policy, &fixture.error);
}

static int teardown(void **state)
{
    px_policy_done(&((struct fixture *)*state)->policy);
    return 0;
}

static int merge(struct fixture *f, const char *text, enum px_origin origin)
{
    json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(object);
    int status = px_policy_merge_json(&f->policy, object, origin, &f->error);
    json_decref(object);
    return status;
}

static int set(struct fixture *f, const char *name, const char *text, enum px_origin origin)
{
    return px_policy_set_text(&f->policy, name, text, origin, &f->error);
}

static char *dump(const struct px_policy *policy)
{
    json_t *object = px_policy_to_json(policy);
    assert_non_null(object);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    assert_non_null(text);
    return text;
}

/* These values come from the contract and not from the code. */
static void test_defaults(void **state)
{
    struct fixture *f = *state;
    px_auto_free char *text = dump(&f->policy);
    assert_string_equal(text, "{\"python_bin\":\"python3\",\"environment\":\"\",\"allowed_environments\":[],"
                              "\"timeout_ms\":5000,\"cpu_time_seconds\":2,"
                              "\"address_space_bytes\":536870912,\"max_open_files\":16,\"max_stdout_bytes\":1000000,"
                              "\"max_stderr_bytes\":256000,\"max_value_bytes\":65536,\"max_displays\":100,"
                              "\"max_display_bytes\":8388608,\"disable_networking\":true,\"allowed_hosts\":[],"
                              "\"disable_open\":true,\"allow_readonly_open\":false,\"use_import_whitelist\":true,"
                              "\"allowed_imports\":[\"math\",\"statistics\",\"random\",\"re\",\"json\",\"itertools\","
                              "\"functools\",\"collections\",\"decimal\",\"fractions\",\"string\",\"textwrap\","
                              "\"heapq\",\"bisect\",\"array\",\"base64\",\"hashlib\",\"hmac\",\"uuid\",\"time\","
                              "\"datetime\",\"socket\",\"traceback\"],\"banned_imports\":[\"os\",\"sys\","
                              "\"subprocess\",\"pathlib\",\"shutil\",\"multiprocessing\",\"ctypes\",\"resource\","
                              "\"inspect\",\"builtins\",\"pickle\"],\"block_dunder_imports\":true,"
                              "\"print_last_expression\":true,\"isolate_site\":true,\"preload_imports\":[],"
                              "\"workspace_bytes\":67108864,\"max_threads\":16,"
                              "\"max_tool_calls\":1000,\"tool_timeout_ms\":null,\"forkable\":false,"
                              "\"auto_checkpoint\":false,\"max_checkpoints\":4}");
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    for (size_t i = 0; i < PX_FIELD_COUNT; i++)
        assert_int_equal(f->policy.origin[i], PX_ORIGIN_DEFAULT);
}

static void test_merge(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(merge(f, "{\"timeout_ms\":100,\"allowed_imports\":[\"os\"]}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(f->policy.timeout_ms, 100);
    assert_int_equal(f->policy.allowed_imports.count, 1);
    assert_int_equal(f->policy.cpu_time_seconds, 2);
    assert_int_equal(f->policy.origin[PX_FIELD_timeout_ms], PX_ORIGIN_REQUEST);
    assert_int_equal(f->policy.origin[PX_FIELD_allowed_imports], PX_ORIGIN_REQUEST);
    assert_int_equal(f->policy.origin[PX_FIELD_cpu_time_seconds], PX_ORIGIN_DEFAULT);
    assert_int_equal(merge(f, "{\"cpu_time_seconds\":null}", PX_ORIGIN_REQUEST), 0);
    assert_true(f->policy.cpu_time_seconds == PX_NONE);
    assert_int_equal(merge(f, "{}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(f->policy.timeout_ms, 100);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
}

static void test_not_an_object(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"[]", "null", "3", "\"timeout_ms\"", "true"};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        assert_int_equal(merge(f, bad[i], PX_ORIGIN_REQUEST), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
    }
    assert_int_equal(px_policy_merge_json(&f->policy, NULL, PX_ORIGIN_REQUEST, &f->error), -1);
}

static void test_unknown_keys(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *given, *json_hint, *text_hint;
    } rows[] = {
        {"timeout_m", "Did you mean timeout_ms?", "Did you mean timeout_ms?"},
        {"timeot", "Did you mean timeout_ms?", "Did you mean timeout?"},
        {"cpuTimeSeconds", "Did you mean cpu_time_seconds?", "Did you mean cpu_time_seconds?"},
        {"Timeout-MS", "Did you mean timeout_ms?", "Did you mean timeout_ms?"},
        {"allowed_import", "Did you mean allowed_imports?", "Did you mean allowed_imports?"},
        {"max_stdeer_bytes", "Did you mean max_stderr_bytes?", "Did you mean max_stderr_bytes?"},
        {"zzz", "See `pyexec policy", "See `pyexec policy"},
        {"", "See `pyexec policy", "See `pyexec policy"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "See `pyexec policy", "See `pyexec policy"},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        px_auto_buffer struct px_buffer object = {0};
        px_buffer_printf(&object, "{\"%s\": 1}", rows[i].given);
        assert_int_equal(merge(f, object.data, PX_ORIGIN_REQUEST), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_non_null(strstr(f->error.message, "policy has no key '"));
        assert_ptr_equal(strstr(f->error.hint, rows[i].json_hint), f->error.hint);
        assert_int_equal(set(f, rows[i].given, "1", PX_ORIGIN_FLAG), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_ptr_equal(strstr(f->error.hint, rows[i].text_hint), f->error.hint);
    }
    /* Other spellings are for flags only. */
    assert_int_equal(merge(f, "{\"timeout\": 5}", PX_ORIGIN_REQUEST), -1);
    assert_non_null(strstr(f->error.hint, "timeout_ms"));
    assert_int_equal(merge(f, "{\"cpu-time-seconds\": 5}", PX_ORIGIN_REQUEST), -1);
    assert_non_null(strstr(f->error.hint, "cpu_time_seconds"));
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(px_policy_find("cpu-time-seconds"), PX_FIELD_cpu_time_seconds);
    assert_int_equal(px_policy_find("cpu_time_seconds"), PX_FIELD_cpu_time_seconds);
    assert_int_equal(px_policy_find("timeout"), PX_FIELD_timeout_ms);
    assert_int_equal(px_policy_find("timeout_ms"), PX_FIELD_timeout_ms);
    assert_int_equal(px_policy_find("timeout_"), PX_FIELD_COUNT);
    assert_int_equal(px_policy_find(""), PX_FIELD_COUNT);
    assert_int_equal(set(f, "timeout", "7s", PX_ORIGIN_ENVIRONMENT), 0);
    assert_int_equal(f->policy.timeout_ms, 7000);
    assert_int_equal(f->policy.origin[PX_FIELD_timeout_ms], PX_ORIGIN_ENVIRONMENT);
    assert_int_equal(set(f, "timeout-ms", "70", PX_ORIGIN_FLAG), 0);
    assert_int_equal(f->policy.timeout_ms, 70);
    assert_int_equal(set(f, "timeout", "70", PX_ORIGIN_FLAG), 0);
    assert_int_equal(f->policy.timeout_ms, 70000);
    assert_int_equal(set(f, "timeout", "0", PX_ORIGIN_FLAG), -1);
    assert_int_equal(set(f, "timeout", "86401", PX_ORIGIN_FLAG), -1);
    assert_string_equal(px_origin_name(PX_ORIGIN_REQUEST), "request");
    assert_string_equal(px_origin_name((enum px_origin)77), "unknown");
}

/* Checks for every field that its row is consistent, and that a policy stays the same when it is written as JSON
 * and read again. */
static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    static const char *const changed[PX_FIELD_COUNT] = {
        [PX_FIELD_python_bin] = "/opt/py",
        [PX_FIELD_environment] = "data-2",
        [PX_FIELD_allowed_environments] = "a,*",
        [PX_FIELD_timeout_ms] = "1h",
        [PX_FIELD_cpu_time_seconds] = "none",
        [PX_FIELD_address_space_bytes] = "none",
        [PX_FIELD_max_open_files] = "none",
        [PX_FIELD_max_stdout_bytes] = "1",
        [PX_FIELD_max_stderr_bytes] = "2",
        [PX_FIELD_max_value_bytes] = "3",
        [PX_FIELD_max_displays] = "4",
        [PX_FIELD_max_display_bytes] = "5",
        [PX_FIELD_disable_networking] = "false",
        [PX_FIELD_allowed_hosts] = "a.example,*.b.example:80",
        [PX_FIELD_disable_open] = "false",
        [PX_FIELD_allow_readonly_open] = "true",
        [PX_FIELD_use_import_whitelist] = "false",
        [PX_FIELD_allowed_imports] = "",
        [PX_FIELD_banned_imports] = "a,b",
        [PX_FIELD_block_dunder_imports] = "false",
        [PX_FIELD_print_last_expression] = "false",
        [PX_FIELD_isolate_site] = "false",
        [PX_FIELD_preload_imports] = "a.b,c",
        [PX_FIELD_workspace_bytes] = "1G",
        [PX_FIELD_max_threads] = "1",
        [PX_FIELD_max_tool_calls] = "0",
        [PX_FIELD_tool_timeout_ms] = "30s",
        [PX_FIELD_forkable] = "true",
        [PX_FIELD_auto_checkpoint] = "true",
        [PX_FIELD_max_checkpoints] = "2",
    };
    px_auto_free char *before = dump(&f->policy);
    for (enum px_policy_field i = 0; i < PX_FIELD_COUNT; i++) {
        const struct px_field_info *info = px_policy_field_info(i);
        assert_non_null(changed[i]);
        assert_int_equal(px_policy_find(info->name), i);
        assert_true(strlen(info->meaning) > 10 && strlen(info->kind) > 0);
        px_auto_free char *old = dump(&f->policy);
        assert_int_equal(set(f, info->name, changed[i], PX_ORIGIN_FILE), 0);
        assert_int_equal(f->policy.origin[i], PX_ORIGIN_FILE);
        px_auto_free char *new = dump(&f->policy);
        assert_string_not_equal(old, new);
    }
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1); /* the whole network, and names */
    assert_non_null(strstr(f->error.message, "allowed_hosts"));
    assert_int_equal(set(f, "allowed_hosts", "", PX_ORIGIN_FILE), 0);
    /* Both choose an interpreter. */
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_non_null(strstr(f->error.message, "both given"));
    assert_int_equal(set(f, "environment", "", PX_ORIGIN_FILE), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);

    px_auto(px_policy_done) struct px_policy other, copy;
    assert_int_equal(px_policy_init(&other, &f->error), 0);
    json_t *object = px_policy_to_json(&f->policy);
    assert_int_equal(px_policy_merge_json(&other, object, PX_ORIGIN_REQUEST, &f->error), 0);
    json_decref(object);
    assert_int_equal(px_policy_copy(&copy, &f->policy, &f->error), 0);
    assert_memory_equal(copy.origin, f->policy.origin, sizeof copy.origin);
    px_auto_free char *text = dump(&f->policy), *text_other = dump(&other), *text_copy = dump(&copy);
    assert_string_equal(text, text_other);
    assert_string_equal(text, text_copy);
    assert_string_not_equal(text, before);
    assert_ptr_not_equal(copy.python_bin, f->policy.python_bin);

    for (enum px_policy_field i = 0; i < PX_FIELD_COUNT; i++)
        assert_int_equal(set(f, px_policy_field_info(i)->name, px_policy_field_info(i)->default_text, PX_ORIGIN_FILE),
                         0);
    px_auto_free char *after = dump(&f->policy);
    assert_string_equal(after, before);
}

static void test_failed_value_leaves_the_old(void **state)
{
    struct fixture *f = *state;
    px_auto_free char *before = dump(&f->policy);
    assert_int_equal(set(f, "allowed_imports", "a,b,1", PX_ORIGIN_FLAG), -1);
    assert_int_equal(set(f, "python_bin", "", PX_ORIGIN_FLAG), -1);
    assert_int_equal(set(f, "max_threads", "0", PX_ORIGIN_FLAG), -1);
    px_auto_free char *after = dump(&f->policy);
    assert_string_equal(after, before);
    assert_int_equal(f->policy.origin[PX_FIELD_max_threads], PX_ORIGIN_DEFAULT);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(px_policy_files(&f->policy), PX_FILES_NONE);
    assert_int_equal(merge(f, "{\"disable_open\":false}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(px_policy_files(&f->policy), PX_FILES_FULL);
    assert_int_equal(merge(f, "{\"allow_readonly_open\":true}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(px_policy_files(&f->policy), PX_FILES_READ);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    /* A request may reduce what the executor allows. */
    assert_int_equal(merge(f, "{\"disable_open\":true}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(px_policy_files(&f->policy), PX_FILES_NONE);
    assert_false(f->policy.allow_readonly_open);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    /* But one request must not set both. */
    assert_int_equal(merge(f, "{\"disable_open\":true,\"allow_readonly_open\":true}", PX_ORIGIN_REQUEST), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
    assert_non_null(strstr(f->error.message, "allow_readonly_open can't be true"));
    assert_non_null(strstr(f->error.hint, "disable_open"));
}

static void test_files_text(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set(f, "allow_readonly_open", "true", PX_ORIGIN_FILE), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_int_equal(set(f, "disable_open", "true", PX_ORIGIN_FILE), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_int_equal(set(f, "disable_open", "true", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    assert_int_equal(set(f, "allow-readonly-open", "true", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_int_equal(set(f, "disable-open", "false", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
}

static void test_dunders(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"__future__", "__x", "x__", "__", "a,__main__"};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        assert_int_equal(set(f, "allowed_imports", bad[i], PX_ORIGIN_FLAG), 0);
        assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_non_null(strstr(f->error.message, "allowed_imports"));
    }
    assert_int_equal(set(f, "use_import_whitelist", "false", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    assert_int_equal(set(f, "use_import_whitelist", "true", PX_ORIGIN_FLAG), 0);
    assert_int_equal(set(f, "block_dunder_imports", "false", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    assert_int_equal(set(f, "block_dunder_imports", "true", PX_ORIGIN_FLAG), 0);
    assert_int_equal(set(f, "allowed_imports", "_,_x_,a__b", PX_ORIGIN_FLAG), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
}

/* NULL means that copying the value failed. That is not an error in the policy. */
static void test_merge_of_no_memory(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(px_policy_merge_json(&f->policy, NULL, PX_ORIGIN_REQUEST, &f->error), -1);
    assert_int_equal(f->error.code, PYEXEC_INTERNAL);
    assert_int_equal(f->error.sys_errno, ENOMEM);
}

/* A struct can be filled without the parsers. */
static void test_check_ranges(void **state)
{
    struct fixture *f = *state;
    f->policy.max_threads = 0;
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_non_null(strstr(f->error.message, "max_threads can't be 0"));
    f->policy.max_threads = PX_NONE;
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
    assert_non_null(strstr(f->error.message, "max_threads can't be null"));
    f->policy.max_threads = 1;
    f->policy.cpu_time_seconds = PX_NONE;
    assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    assert_int_equal(px_strings_add(&f->policy.allowed_imports, "a b", 3), 0);
    assert_int_equal(px_policy_check(&f->policy, &f->error), -1);
}

static void test_short_flags(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *flag, *value;
        int status;
    } rows[] = {
        {"files", "read", 0},          {"files", "full", 0},      {"files", "none", 0},
        {"imports", "safe-stdlib", 0}, {"imports", "default", 0}, {"imports", "all", -1},
        {"files", "write", -1},        {"files", "", -1},         {"files", NULL, -1},
        {"network", NULL, 0},          {"network", "true", 0},    {"network", "false", 0},
        {"network", "on", -1},         {"any-import", NULL, 0},   {"any-import", "false", 0},
        {"any-import", "", -1},        {"allow-import", "", 0},   {"allow-import", "os,numpy", 0},
        {"allow-import", "*", -1},     {"allow_import", "a", -1}, {"", NULL, -1},
        {"allow-host", "a.b", 0},      {"allow-host", "*", -1},   {"allow-host", "", 0},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        int status = px_policy_set_short(&f->policy, rows[i].flag, rows[i].value, PX_ORIGIN_FLAG, &f->error);
        assert_int_equal(status, rows[i].status);
        if (status < 0)
            assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_int_equal(px_policy_check(&f->policy, &f->error), 0);
    }
    assert_int_equal(f->policy.origin[PX_FIELD_allow_readonly_open], PX_ORIGIN_FLAG);
    assert_int_equal(f->policy.allowed_imports.count, 25);
    assert_true(px_strings_has(&f->policy.allowed_imports, "numpy"));
    assert_true(f->policy.use_import_whitelist);
    assert_int_equal(f->policy.banned_imports.count, 11);
    assert_int_equal(px_policy_set_short(&f->policy, "any-import", NULL, PX_ORIGIN_FLAG, &f->error), 0);
    assert_false(f->policy.use_import_whitelist);
    assert_int_equal(f->policy.banned_imports.count, 0);
    assert_int_equal(px_policy_set_short(&f->policy, "network", NULL, PX_ORIGIN_FLAG, &f->error), 0);
    assert_false(f->policy.disable_networking);
    assert_int_equal(px_policy_set_short(&f->policy, "files", "read", PX_ORIGIN_FLAG, &f->error), 0);
    assert_int_equal(px_policy_files(&f->policy), PX_FILES_READ);
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++)
        assert_true(flags[i].name && flags[i].meaning);
}

static void test_add_names(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(px_policy_add_names(&f->policy, PX_FIELD_preload_imports, "a.b, c,a.b", PX_ORIGIN_FILE, &f->error),
                     0);
    assert_int_equal(f->policy.preload_imports.count, 2);
    assert_int_equal(f->policy.origin[PX_FIELD_preload_imports], PX_ORIGIN_FILE);
    assert_int_equal(px_policy_add_names(&f->policy, PX_FIELD_max_threads, "a", PX_ORIGIN_FILE, &f->error), -1);
    assert_int_equal(px_policy_add_names(&f->policy, PX_FIELD_allowed_imports, "a..b", PX_ORIGIN_FILE, &f->error), -1);
}

static void test_strings(void **state)
{
    (void)state;
    px_auto(px_strings_done) struct px_strings list = {0};
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 100; i++) {
            char text[16];
            int length = snprintf(text, sizeof text, "%d", i);
            assert_int_equal(px_strings_add(&list, text, (size_t)length), 0);
        }
    assert_int_equal(list.count, 100);
    assert_string_equal(list.items[99], "99");
    assert_int_equal(px_strings_add(&list, "100xyz", 3), 0);
    assert_true(px_strings_has(&list, "100"));
    assert_false(px_strings_has(&list, "100xyz"));
}

static void test_describe(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer help = {0}, table = {0};
    px_policy_describe_help(&help);
    px_config_describe_markdown(&table);
    assert_true(px_buffer_ok(&help) && px_buffer_ok(&table));
    for (enum px_policy_field i = 0; i < PX_FIELD_COUNT; i++) {
        px_auto_buffer struct px_buffer name = {0};
        px_buffer_printf(&name, "\n  %s", px_policy_field_info(i)->name);
        assert_non_null(strstr(help.data, name.data));
        px_buffer_consume(&name, name.length);
        px_buffer_printf(&name, "\n| `%s` |", px_policy_field_info(i)->name);
        assert_non_null(strstr(table.data, name.data));
    }
    for (const char *line = help.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    for (const char *line = table.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(line[0] != '|' || line[strcspn(line, "\n") - 1] == '|');
    static const char *const others[] = {"\n## [session]\n",
                                         "\n| `idle_ttl` |",
                                         "\n## [host]\n",
                                         "\n| `pool_size` |",
                                         "\n## [serve]\n",
                                         "\n| `token_file` |",
                                         "\n| `--files none\\|read\\|full` |"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_non_null(strstr(table.data, others[i]));
}

#define WITH_POLICY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_POLICY(test_defaults),
        WITH_POLICY(test_merge),
        WITH_POLICY(test_not_an_object),
        WITH_POLICY(test_unknown_keys),
        WITH_POLICY(test_names),
        WITH_POLICY(test_round_trip),
        WITH_POLICY(test_files),
        WITH_POLICY(test_failed_value_leaves_the_old),
        WITH_POLICY(test_files_text),
        WITH_POLICY(test_dunders),
        WITH_POLICY(test_merge_of_no_memory),
        WITH_POLICY(test_check_ranges),
        WITH_POLICY(test_short_flags),
        WITH_POLICY(test_add_names),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
