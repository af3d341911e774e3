/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/repl_scan.h"

static void test_complete(void **state)
{
    static const char *const cells[] = {
        "1 + 1\n",
        "\n",
        "print('a')\n",
        "x = [1,\n2]\n",
        "s = '''a\nb'''\n",
        "s = \"\"\"it's\n\"\"\"\n",
        "'\\''\n",
        "'a \\\nb'\n",
        "1 + \\\n2\n",
        "# if x:\n",
        "'if x:'\n",
        "iffy = 1\n",
        "classes = 2\n",
        "x = {'a': 1}\n",
        "if x:\n    1\n\n",
        "def f():\n    return 1\n\n",
        "@cache\ndef f():\n    pass\n  \n",
        "x = ]\n", /* wrong, and Python says so */
        "'abc\n",  /* no end on its line: a syntax error */
        "x = 'a' # (\n",
        "f(a[0], {1})\n",
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(cells); i++)
        if (!repl_is_complete(cells[i]))
            fail_msg("not complete: %s", cells[i]);
}

static void test_to_be_continued(void **state)
{
    static const char *const cells[] = {
        "x = [1,\n",        "f(\n",
        "x = {\n'a': 1,\n", "f('''a\n",
        "s = '''a\n",       "s = \"\"\"a ''' b\n",
        "1 + \\\n",         "if x:\n",
        "if x:\n    1\n",   "for i in x: # all\n",
        "while True:\n",    "try:\n    f()\n",
        "with a as b:\n",   "def f(): return 1\n",
        "class A: pass\n",  "async def f():\n",
        "@cache\n",         "match x:\n",
        "x = (')'\n",       "x = [ # ]\n",
        "  indented\n",     "if (a and\n    b):\n",
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(cells); i++)
        if (repl_is_complete(cells[i]))
            fail_msg("taken for complete: %s", cells[i]);
}

static void test_bytes_of_names(void **state)
{
    (void)state;
    for (const char *c = "azAZ09_\xc3\xa4"; *c; c++)
        assert_true(repl_is_word_byte(*c));
    for (const char *c = " .([@`/:{\x7f-"; *c; c++)
        assert_false(repl_is_word_byte(*c));
    assert_false(repl_is_word_byte('\0'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_to_be_continued),
        cmocka_unit_test(test_bytes_of_names),
    };
    return cmocka_run_group_tests_name("repl_scan", tests, NULL, NULL);
}
