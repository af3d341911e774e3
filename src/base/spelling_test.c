/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spelling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

static void test_listed_words(void **state)
{
    (void)state;
    static const char words[] = " run  serve rpc";
    assert_true(px_word_is_listed(words, "run"));
    assert_true(px_word_is_listed(words, "serve"));
    assert_true(px_word_is_listed(words, "rpc"));
    assert_false(px_word_is_listed(words, "ru"));
    assert_false(px_word_is_listed(words, "un"));
    assert_false(px_word_is_listed(words, "runs"));
    assert_false(px_word_is_listed(words, "serve rpc"));
    assert_false(px_word_is_listed(words, ""));
    assert_false(px_word_is_listed("", "run"));
    assert_false(px_word_is_listed(" ", " "));
}

static void test_plain_words(void **state)
{
    (void)state;
    assert_true(px_word_is_plain("aZ0-_", 5));
    assert_false(px_word_is_plain("aZ0-_", 4));
    assert_false(px_word_is_plain(NULL, 5));
    const char *const bad[] = {"", ".", "a.b", "a b", "a*", ">", "a/b", "a\r\n", "\xc3\xa4", "a+", "a="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(px_word_is_plain(bad[i], 64));
}

static void test_session_ids(void **state)
{
    (void)state;
    const char *const good[] = {"a", "aZ0._:-", "...", ".a", "a..", "..b"};
    const char *const bad[] = {"", ".", "..", "a/b", "a b", "a%", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(px_word_is_session_id(good[i], strlen(good[i]), 7));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(px_word_is_session_id(bad[i], strlen(bad[i]), 7));
    assert_false(px_word_is_session_id("aZ0._:-", 7, 6));
    assert_true(px_word_is_session_id("alice/s", 5, 7)); /* the part before the slash */
    assert_false(px_word_is_session_id("../s", 2, 7));
}

static void test_keywords(void **state)
{
    (void)state;
    assert_true(px_name_is_keyword("False"));
    assert_true(px_name_is_keyword("lambda"));
    assert_true(px_name_is_keyword("yield"));
    assert_false(px_name_is_keyword("false"));
    assert_false(px_name_is_keyword("match"));
    assert_false(px_name_is_keyword("print"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),     cmocka_unit_test(test_dunder),      cmocka_unit_test(test_listed_words),
        cmocka_unit_test(test_plain_words), cmocka_unit_test(test_session_ids), cmocka_unit_test(test_keywords),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
