/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spelling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"

static const char *nearest(const char *wanted)
{
    static const char *const known[] = {"timeout_ms", "timeout", "isolate_site", "run", "repl", "memory_limit_bytes"};
    struct px_spelling search = {.wanted = wanted};
    for (size_t i = 0; i < PX_COUNT(known); i++)
        px_spelling_offer(&search, known[i]);
    return search.best;
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("timout"), "timeout");
    assert_string_equal(nearest("isolate-sites"), "isolate_site");
    assert_string_equal(nearest("Isolate-Site"), "isolate_site");
    assert_string_equal(nearest("rnu"), "run");
    assert_string_equal(nearest("rn"), "run");
    assert_string_equal(nearest("memory-limit"), "memory_limit_bytes");
    assert_null(nearest("qwertz"));
    assert_null(nearest(""));
    assert_null(nearest("mem"));
    assert_null(nearest("timeout_timeout_timeout_timeout_timeout_timeout_timeout_timeout_timeout"));
}

static void test_dunder(void **state)
{
    (void)state;
    assert_true(px_name_is_dunder("__main__"));
    assert_true(px_name_is_dunder("__future"));
    assert_true(px_name_is_dunder("odd__"));
    assert_false(px_name_is_dunder("_thread"));
    assert_false(px_name_is_dunder("a__b"));
    assert_false(px_name_is_dunder("_"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_dunder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
