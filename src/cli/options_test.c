/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "policy/policy.h"

struct own {
    bool json, quiet;
    const char *code;
    struct cli_list files;
};

static const struct cli_option rows[] = {
    {"json", 'j', NULL, "Print JSON.", CLI_INTO(struct own, json)},
    {"quiet", 'q', NULL, "Say nothing.", CLI_INTO(struct own, quiet)},
    {"code", 'c', "CODE", "The code.", CLI_INTO(struct own, code)},
    {"file", 0, "FILE", "A file.", CLI_INTO(struct own, files)},
};
static const struct cli_command command = {
    .name = "run",
    .max_operands = 1,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct own),
    .policy_flags = true,
};

struct parsed {
    struct cli_arguments arguments;
    struct own own;
    pyexec_error error;
    int status;
};

/* Parses the words, which end with NULL. */
static void parse(struct parsed *parsed, const struct cli_command *how, const char *const *words)
{
    int count = 0;
    memset(parsed, 0, sizeof *parsed);
    while (words[count])
        count++;
    parsed->status = cli_parse(how, count, (char **)(uintptr_t)words, &parsed->arguments, &parsed->own, &parsed->error);
}
#define PARSE(parsed, ...) parse(parsed, &command, (const char *const[]){__VA_ARGS__, NULL})

static void done(struct parsed *parsed)
{
    cli_parse_done(&command, &parsed->arguments, &parsed->own);
}

static void test_options_fill_the_struct(void **state)
{
    struct parsed p;
    (void)state;
    PARSE(&p, "--json", "--code=1 = 1", "--file", "a", "--file=b", "script.py");
    assert_int_equal(p.status, 0);
    assert_true(p.own.json && !p.own.quiet);
    assert_string_equal(p.own.code, "1 = 1");
    assert_int_equal(p.own.files.count, 2);
    assert_string_equal(p.own.files.items[0], "a");
    assert_string_equal(p.own.files.items[1], "b");
    assert_int_equal(p.arguments.operands.count, 1);
    assert_string_equal(p.arguments.operands.items[0], "script.py");
    done(&p);
}

static void test_letters_alone_together_and_with_values(void **state)
{
    struct parsed p;
    (void)state;
    PARSE(&p, "-jq", "-c", "1", "-");
    assert_int_equal(p.status, 0);
    assert_true(p.own.json && p.own.quiet);
    assert_string_equal(p.own.code, "1");
    assert_string_equal(p.arguments.operands.items[0], "-");
    done(&p);
    PARSE(&p, "-qc--json");
    assert_int_equal(p.status, 0);
    assert_true(p.own.quiet && !p.own.json);
    assert_string_equal(p.own.code, "--json");
    done(&p);
    PARSE(&p, "-h");
    assert_true(p.arguments.help);
    done(&p);
}

static void test_the_last_value_counts_and_switches_take_one(void **state)
{
    struct parsed p;
    (void)state;
    PARSE(&p, "-c", "1", "--code", "2", "--json", "--json=false", "--quiet=true");
    assert_int_equal(p.status, 0);
    assert_string_equal(p.own.code, "2");
    assert_true(!p.own.json && p.own.quiet);
    done(&p);
}

static void test_after_two_dashes_all_are_operands(void **state)
{
    struct parsed p;
    (void)state;
    PARSE(&p, "--json", "--", "--quiet");
    assert_int_equal(p.status, 0);
    assert_false(p.own.quiet);
    assert_string_equal(p.arguments.operands.items[0], "--quiet");
    done(&p);
}

static void test_flags_of_the_policy_are_kept_in_order(void **state)
{
    struct parsed p;
    (void)state;
    PARSE(&p, "--timeout", "2s", "--no-isolate-site", "--timeout-ms=3000", "--disable-open", "--allow-missing", "x");
    assert_int_equal(p.status, 0);
    assert_int_equal(p.arguments.flag_count, 4);
    const struct cli_flag *flags = p.arguments.flags;
    assert_string_equal(flags[0].name, "timeout");
    assert_string_equal(flags[0].value, "2s");
    assert_string_equal(flags[1].name, "isolate_site");
    assert_string_equal(flags[1].value, "false");
    assert_string_equal(flags[2].name, "timeout_ms");
    assert_string_equal(flags[3].value, "true");
    assert_string_equal(p.arguments.allow_missing, "x");
    done(&p);
}

static void test_what_is_wrong_is_named_with_what_to_write(void **state)
{
    static const struct {
        const char *words[4], *message, *hint;
    } refused[] = {
        {{"--jsno"}, "run: unknown option '--jsno'", "Did you mean --json?"},
        {{"--tiemout=2s"}, "run: unknown option '--tiemout'", "Did you mean --timeout?"},
        {{"--no-isolate-sight"}, "unknown option '--no-isolate-sight'", "Did you mean --no-isolate-site?"},
        {{"--no-json"}, "unknown option '--no-json'", "lists the options"},
        {{"-x"}, "unknown option '-x'", "`pyexec run --help` lists the options."},
        {{"-jx"}, "unknown option '-x'", "lists"},
        {{"--code"}, "--code needs a value", "Write --code CODE."},
        {{"-c"}, "-c needs a value", "Write -c CODE."},
        {{"--timeout"}, "--timeout needs a value", "Write --timeout DURATION."},
        {{"--json=maybe"},
         "--json is a switch, so its value can't be 'maybe'",
         "Write --json without a value, or --json=false."},
        {{"--no-timeout"}, "--no-timeout can't be negated", "Write --timeout=VALUE."},
        {{"--no-disable-open=true"}, "can't be negated and have a value too", "Write --disable-open=VALUE."},
        {{"a", "b"}, "run: unexpected argument 'b'", "says what it takes"},
        {{"a", "false"}, "unexpected argument 'false'", "Give a switch its value with '='"},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(refused); i++) {
        struct parsed p;
        parse(&p, &command, refused[i].words);
        if (p.status != -1 || p.error.code != PYEXEC_INVALID_REQUEST || !strstr(p.error.message, refused[i].message) ||
            !strstr(p.error.hint, refused[i].hint))
            fail_msg("%s: %d, %s (%s)", refused[i].words[0], p.status, p.error.message, p.error.hint);
        done(&p);
    }
}

static void test_without_policy_flags_they_are_unknown(void **state)
{
    struct cli_command plain = command;
    static const char *const words[] = {"--timeout=2s", NULL}, *const config[] = {"--config=x", NULL};
    struct parsed p;
    (void)state;
    plain.policy_flags = false;
    parse(&p, &plain, words);
    assert_int_equal(p.status, -1);
    done(&p);
    parse(&p, &plain, config);
    assert_int_equal(p.status, -1);
    done(&p);
}

static void test_each_field_of_the_policy_has_a_flag(void **state)
{
    char flag[CLI_FLAG_MAX], text[CLI_FLAG_MAX + 16];
    (void)state;
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        struct parsed p;
        cli_policy_flag(info, flag);
        assert_null(strchr(flag, '_'));
        snprintf(text, sizeof text, "--%s=x", flag);
        PARSE(&p, text);
        assert_int_equal(p.status, 0);
        assert_int_equal(p.arguments.flag_count, 1);
        assert_int_equal(px_policy_find(p.arguments.flags[0].name), field);
        assert_string_equal(p.arguments.flags[0].value, "x");
        done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_fill_the_struct),
        cmocka_unit_test(test_letters_alone_together_and_with_values),
        cmocka_unit_test(test_the_last_value_counts_and_switches_take_one),
        cmocka_unit_test(test_after_two_dashes_all_are_operands),
        cmocka_unit_test(test_flags_of_the_policy_are_kept_in_order),
        cmocka_unit_test(test_what_is_wrong_is_named_with_what_to_write),
        cmocka_unit_test(test_without_policy_flags_they_are_unknown),
        cmocka_unit_test(test_each_field_of_the_policy_has_a_flag),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
