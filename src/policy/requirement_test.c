/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "policy/requirement.h"

static void test_each_requirement_has_one_spelling(void **state)
{
    static const struct {
        const char *text, *spelling, *named;
    } rows[] = {
        {"numpy", "numpy", "numpy"},
        {"  NumPy ", "numpy", "numpy"},
        {"Ruamel.YAML", "ruamel-yaml", "ruamel-yaml"},
        {"a__b-.c", "a-b-c", "a-b-c"},
        {"pandas>=2", "pandas>=2", "pandas"},
        {"pandas >= 2 , < 3", "pandas>=2,<3", "pandas"},
        {"x==1.2.*", "x==1.2.*", "x"},
        {"x===1.0+local.1", "x===1.0+local.1", "x"},
        {"x~=1.4.2,!=1.4.5", "x~=1.4.2,!=1.4.5", "x"},
        {"x==1!2.0rc1", "x==1!2.0rc1", "x"},
        {"uvicorn[standard]>=0.2", "uvicorn[standard]>=0.2", "uvicorn uvicorn[standard]"},
        {"x [ B , a_c ]", "x[b,a-c]", "x x[b] x[a-c]"},
        {"3d", "3d", "3d"},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        pyexec_error error;
        px_auto(px_strings_done) struct px_strings named = {0};
        px_auto_buffer struct px_buffer text = {0}, all = {0};
        assert_int_equal(px_requirement_parse(rows[i].text, strlen(rows[i].text), &text, &named, &error), 0);
        assert_string_equal(px_buffer_string(&text), rows[i].spelling);
        for (size_t n = 0; n < named.count; n++)
            px_buffer_printf(&all, "%s%s", n ? " " : "", named.items[n]);
        assert_string_equal(px_buffer_string(&all), rows[i].named);
    }
}

static void test_everything_else_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "-e .",
        "--index-url=https://h.example",
        "./a.whl",
        "/a.whl",
        "../a",
        "https://h.example/a.whl",
        "git+https://h.example/a",
        "a @ https://h.example/a.whl",
        "a@b",
        "a; python_version > '3'",
        "a>=1; x",
        "a --hash=sha256:00",
        "a>=1 --hash=x",
        "a\n-e .",
        "a>1\n",
        "a#b",
        "a # b",
        "a==${HOME}",
        "a==$(x)",
        "a=1",
        "a=>1",
        "a>",
        "a>=",
        "a>=1,",
        "a,b",
        "a b",
        "a>=1 <2",
        "a(>=1)",
        "a[",
        "a[]",
        "a[b",
        "a[b]]",
        "a[b,]",
        "a[b c]",
        "a[../b]",
        "a-",
        "-a",
        "_a",
        "a.",
        "a>=-1",
        "a>=.1",
        "a>=1/2",
        "a\xc3\xa4",
        "a>=1\xe2\x80\xa8",
        "a\x7f",
        "a\\b",
        "a'b",
        "*",
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        pyexec_error error;
        px_auto(px_strings_done) struct px_strings named = {0};
        px_auto_buffer struct px_buffer text = {0};
        if (px_requirement_parse(texts[i], strlen(texts[i]), &text, &named, &error) == 0)
            fail_msg("'%s' was taken as '%s'", texts[i], px_buffer_string(&text));
        assert_int_equal(error.code, PYEXEC_INVALID_REQUEST);
        assert_int_equal(text.length, 0);
    }
}

static void test_lengths_and_nul_bytes(void **state)
{
    char longest[202];
    pyexec_error error;
    px_auto(px_strings_done) struct px_strings named = {0};
    px_auto_buffer struct px_buffer text = {0};
    (void)state;
    assert_int_equal(px_requirement_parse("a\0b", 3, &text, &named, &error), -1);
    memset(longest, 'a', sizeof longest);
    longest[201] = '\0';
    assert_int_equal(px_requirement_parse(longest, 201, &text, &named, &error), -1);
    longest[190] = '\0';
    assert_int_equal(px_requirement_parse(longest, 190, &text, &named, &error), 0);
}

static void test_items_that_may_be_allowed(void **state)
{
    static const char *const bad[] = {"numpy>=1", "a[b,c]", "*", "a;b", "-r", "a b", "https://h.example"};
    pyexec_error error;
    px_auto(px_strings_done) struct px_strings allowed = {0};
    (void)state;
    assert_int_equal(px_requirement_allow_all(&allowed, "NumPy,ruamel.yaml,,uvicorn[Standard]", &error), 0);
    assert_int_equal(allowed.count, 3);
    assert_true(px_strings_has(&allowed, "numpy") && px_strings_has(&allowed, "ruamel-yaml"));
    assert_true(px_strings_has(&allowed, "uvicorn[standard]") && !px_strings_has(&allowed, "uvicorn"));
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        assert_int_equal(px_requirement_allow(&allowed, bad[i], &error), -1);
        assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
    }
    assert_int_equal(allowed.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_requirement_has_one_spelling),
        cmocka_unit_test(test_everything_else_is_refused),
        cmocka_unit_test(test_lengths_and_nul_bytes),
        cmocka_unit_test(test_items_that_may_be_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
