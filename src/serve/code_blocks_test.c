/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "serve/code_blocks.h"

struct row {
    const char *answer, *code;
};

static void expect(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        px_auto_buffer struct px_buffer code = {0};
        px_code_of_answer(&code, rows[i].answer);
        assert_string_equal(px_buffer_string(&code), rows[i].code);
    }
}

static void test_the_first_python_block_between_fences(void **state)
{
    static const struct row rows[] = {
        {"Here:\n```python\nprint(1)\n```\nDone.", "print(1)"},
        {"```\nfirst\n```\n```py\nsecond\n```\n```python\nthird\n```", "second"},
        {"```cpp\nint x;\n```\n```js\ny\n```", "int x;"},
        {"```  Python3 \na\n\n\n   ```", "a"},
        {"text ```python\na\nb\n``` ", "a\nb"},
        {"```python\nx = '```'\n```", "x = '```'"},
        {"```PY\nå\n```", "å"},
        {"```python\n\nprint(1)\n```", "\nprint(1)"},
    };
    (void)state;
    expect(rows, PX_COUNT(rows));
}

static void test_a_fence_that_is_never_closed(void **state)
{
    static const struct row rows[] = {
        {"```python\nprint(1)\n", "print(1)\n"},
        {"```python\nprint(1)```", "print(1)```"},
        {"def f():\n    return 1\n```python\nprint(2)", "print(2)"},
        {"```python", ""},
    };
    (void)state;
    expect(rows, PX_COUNT(rows));
}

static void test_a_definition_without_fences(void **state)
{
    static const struct row rows[] = {
        {"Sure.\nimport a\n\nfrom b import c\n# note\ndef f(x):\n\n    return x\nprint(f(1))\n",
         "import a\nfrom b import c\n# note\ndef f(x):\n    return x\n"},
        {"import a\nx = 1\nclass C:\n\tpass", "class C:\n\tpass\n"},
        {"def f(x): return x\ndef g(x):\n  return x\n", "def g(x):\n  return x\n"},
        {"    indented\ndef f():\n    pass\n\n  also\nend", "def f():\n    pass\n  also\n"},
        {"print(1)", ""},
        {"def \n  x\n", ""},
        {"", ""},
        {"\n\n", ""},
    };
    (void)state;
    expect(rows, PX_COUNT(rows));
}

/* Each of these made a search that begins again at every line end take minutes. */
/* AddressSanitizer's strspn() and strstr() read to the end of the text, which makes the time quadratic. */
#ifdef __SANITIZE_ADDRESS__
#define LARGE (64u << 10)
#else
#define LARGE (4u << 20)
#endif

static void test_large_answers_take_linear_time(void **state)
{
    static const char *const pieces[] = {"\n", "```\n", "```x\n ", "import a\n", "def f():\n", " \n", "`"};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(pieces); i++) {
        px_auto_buffer struct px_buffer answer = {0};
        px_auto_buffer struct px_buffer code = {0};
        px_buffer_add_string(&answer, "```python\n");
        while (answer.length < LARGE)
            px_buffer_add_string(&answer, pieces[i]);
        px_code_of_answer(&code, px_buffer_string(&answer));
        px_code_of_answer(&code, px_buffer_string(&answer) + strlen("```python\n"));
        assert_true(px_buffer_ok(&code));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_python_block_between_fences),
        cmocka_unit_test(test_a_fence_that_is_never_closed),
        cmocka_unit_test(test_a_definition_without_fences),
        cmocka_unit_test(test_large_answers_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
