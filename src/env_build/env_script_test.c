/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "env_build/env_script.h"

/* Reads the metadata, and returns the dependencies with '|' between them and requires-python after "; ". NULL: it was refused. */
static char *read_script(const char *code, pyexec_error *error)
{
    px_auto(env_script_done) struct env_script script = {0};
    px_auto_buffer struct px_buffer all = {0};
    if (env_script_read(code, strlen(code), &script, error) < 0)
        return NULL;
    px_buffer_add_string(&all, "");
    for (size_t i = 0; i < script.dependencies.count; i++)
        px_buffer_printf(&all, "%s%s", i ? "|" : "", script.dependencies.items[i]);
    if (script.requires)
        px_buffer_printf(&all, "; %s", script.requires);
    px_buffer_add_byte(&all, '\0');
    return px_buffer_take(&all);
}

#define BLOCK(lines) "x = 1\n# /// script\n" lines "# ///\ny = 2\n"

static void test_what_the_metadata_says(void **state)
{
    static const struct {
        const char *code, *wanted;
    } rows[] = {
        {"", ""},
        {"# dependencies = ['a']\n", ""},
        {BLOCK(""), ""},
        {BLOCK("# dependencies = []\n"), ""},
        {BLOCK("# dependencies = ['a']\n"), "a"},
        {BLOCK("# dependencies = [ \"a\" , 'b>=1' , ]\n"), "a|b>=1"},
        {BLOCK("# dependencies = [\n#   \"a\", # one\n#\n#   'b',\n# ]\n"), "a|b"},
        {BLOCK("# requires-python = \">=3.11\"\n"), "; >=3.11"},
        {BLOCK("# requires-python = '>=3.8' # why\n# dependencies = ['a']\n"), "a; >=3.8"},
        {BLOCK("# other = {x = [1, 2.5, true, 1979-05-27], 'y z' = {}}\n# dependencies = ['a']\n"), "a"},
        {BLOCK("# tool.x.dependencies = ['no']\n# dependencies = ['a']\n"), "a"},
        {BLOCK("# dependencies = ['a']\n# [tool.uv]\n# dependencies = ['no']\n# junk\n"), "a"},
        {BLOCK("# dependencies = [\"\\u0061\\U00000062\\\"\\\\\"]\n"), "ab\"\\"},
        {BLOCK("# dependencies = ['a\\u0062']\n"), "a\\u0062"},
        {BLOCK("# dependencies = ['''a''', \"\"\"\n# b\\\n#    c\"\"\"]\n"), "a|bc"},
        {"# /// script\r\n# dependencies = ['a']\r\n# ///\r\n", "a"},
        {"# /// script\n# dependencies = ['a']\n# ///", "a"},
        /* The block ends at the last of these lines in the comment. */
        {"# /// script\n# dependencies = ['a']\n# ///\n# [x]\n# ///\n", NULL},
        /* Without an end it is an ordinary comment. */
        {"# /// script\n# dependencies = ['a']\n", ""},
        {"# /// script\n#dependencies = ['a']\n# ///\n", ""},
        {" # /// script\n# dependencies = ['a']\n# ///\n", ""},
        {"# /// other\n# dependencies = ['a']\n# ///\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        pyexec_error error = {0};
        px_auto_free char *found = read_script(rows[i].code, &error);
        if (!found != !rows[i].wanted || (found && strcmp(found, rows[i].wanted) != 0))
            fail_msg("%zu: '%s' gave '%s' %s", i, rows[i].code, found ? found : "an error", error.message);
    }
}

static void test_what_can_not_be_read_is_refused(void **state)
{
    static const char *const codes[] = {
        BLOCK("# dependencies = 'a'\n"),
        BLOCK("# dependencies = [1]\n"),
        BLOCK("# dependencies = ['a' 'b']\n"),
        BLOCK("# dependencies = ['a'\n"),
        BLOCK("# dependencies = ['a]\n"),
        BLOCK("# dependencies = ['a'] 'b'\n"),
        BLOCK("# dependencies\n"),
        BLOCK("# = ['a']\n"),
        BLOCK("# requires-python = 3\n"),
        BLOCK("# x = \n"),
        BLOCK("# x = \"\\q\"\n"),
        BLOCK("# x = \"\\u00\"\n"),
        BLOCK("# x = \"\\ud800\"\n"),
        BLOCK("# x = \"\\U00110000\"\n"),
        BLOCK("# x = {a = }\n"),
        BLOCK("# x = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"),
        BLOCK("# dependencies = ['a']\n") BLOCK("# dependencies = ['b']\n"),
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(codes); i++) {
        pyexec_error error = {0};
        px_auto_free char *found = read_script(codes[i], &error);
        if (found)
            fail_msg("'%s' gave '%s'", codes[i], found);
        assert_int_equal(error.code, PYEXEC_INVALID_REQUEST);
        assert_non_null(strstr(error.message, "PEP 723"));
        assert_true(*error.hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_metadata_says),
        cmocka_unit_test(test_what_can_not_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
