/* SPDX-License-Identifier: Apache-2.0 */
/* Strict UTF-8: validity, cuts and repairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static const struct {
    const char *bytes;
    size_t offset;        /* offset of the first bad byte; SIZE_MAX when the text is valid */
    const char *repaired; /* the same result as Python's errors="replace" */
} samples[] = {
    {"", SIZE_MAX, ""},
    {"abc", SIZE_MAX, "abc"},
    {"\xC3\xA9", SIZE_MAX, "\xC3\xA9"},
    {"\xED\x9F\xBF", SIZE_MAX, "\xED\x9F\xBF"},
    {"\xF4\x8F\xBF\xBF", SIZE_MAX, "\xF4\x8F\xBF\xBF"},
    {"a\x80", 1, "a\uFFFD"},
    {"\xC0\x80", 0, "\uFFFD\uFFFD"},
    {"\xC1\xBF", 0, "\uFFFD\uFFFD"},
    {"\xE0\x80\x80", 0, "\uFFFD\uFFFD\uFFFD"},
    {"\xED\xA0\x80", 0, "\uFFFD\uFFFD\uFFFD"},
    {"\xF0\x8F\xBF\xBF", 0, "\uFFFD\uFFFD\uFFFD\uFFFD"},
    {"\xF4\x90\x80\x80", 0, "\uFFFD\uFFFD\uFFFD\uFFFD"},
    {"\xF5", 0, "\uFFFD"},
    {"\xFF", 0, "\uFFFD"},
    {"\xE2\x82", 0, "\uFFFD"},
    {"\xE2\x82z", 0, "\uFFFDz"},
    {"\xF0\x9F\x92", 0, "\uFFFD"},
    {"x\xF0\x9F\x92\xC3\xA9y", 1, "x\uFFFD\xC3\xA9y"},
    {"\xC3\xC3\xA9", 0, "\uFFFD\xC3\xA9"},
};

static void test_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(samples); i++) {
        size_t offset = SIZE_MAX;
        bool valid = px_utf8_valid(samples[i].bytes, strlen(samples[i].bytes), &offset);
        assert_int_equal(valid, samples[i].offset == SIZE_MAX);
        assert_int_equal(offset, samples[i].offset);
    }
    assert_false(px_utf8_valid("\xFF", 1, NULL));
    assert_true(px_utf8_valid("a\0b", 3, NULL));
}

static void test_repair_of_nothing(void **state)
{
    px_auto_buffer struct px_buffer out = {0};
    (void)state;
    px_utf8_repair(&out, NULL, 0);
    assert_int_equal(out.length, 0);
}

static void test_repair(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(samples); i++) {
        px_auto_buffer struct px_buffer out = {0};
        px_utf8_repair(&out, samples[i].bytes, strlen(samples[i].bytes));
        assert_string_equal(px_buffer_string(&out), samples[i].repaired);
        assert_true(px_utf8_valid(px_buffer_string(&out), out.length, NULL));
    }
}

/* Text is read a word at a time, so each bad byte is tried at each place of two words. */
static void test_a_bad_byte_is_found_at_each_place(void **state)
{
    (void)state;
    for (size_t length = 1; length <= 19; length++) {
        for (size_t at = 0; at < length; at++) {
            for (unsigned char bad = 0x80; bad; bad++) {
                char text[20], expected[24];
                memset(text, 'a', sizeof text);
                text[at] = (char)bad;
                size_t offset = SIZE_MAX;
                assert_false(px_utf8_valid(text, length, &offset));
                assert_int_equal(offset, at);
                px_auto_buffer struct px_buffer out = {0};
                px_utf8_repair(&out, text, length);
                memset(expected, 'a', sizeof expected);
                memcpy(expected + at, "\xEF\xBF\xBD", 3);
                assert_int_equal(out.length, length + 2);
                assert_memory_equal(px_buffer_shown(&out), expected, length + 2);
            }
        }
    }
}

static void test_sequence(void **state)
{
    (void)state;
    const unsigned char euro[] = {0xE2, 0x82, 0xAC};
    assert_int_equal(px_utf8_sequence(euro, 3), 3);
    assert_int_equal(px_utf8_sequence(euro, 2), 0);
    assert_int_equal(px_utf8_sequence(euro, 0), 0);
    assert_int_equal(px_utf8_sequence(euro + 1, 2), 0);
}

static void test_truncate(void **state)
{
    (void)state;
    const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x92\xA9";
    const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t limit = 0; limit < PX_COUNT(expected); limit++)
        assert_int_equal(px_utf8_truncate(text, sizeof text - 1, limit), expected[limit]);
    /* The end is not inside a sequence, so cutting more would be wrong. */
    assert_int_equal(px_utf8_truncate("a\x80\x80", 3, 1), 1);
    assert_int_equal(px_utf8_truncate("\x80\x80\x80\x80\x80", 5, 4), 4);
    assert_int_equal(px_utf8_truncate("\xC3\xA9\x80", 3, 2), 2);
}

static void test_incomplete_tail(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t tail;
    } rows[] = {
        {"", 0},
        {"a", 0},
        {"\xC3", 1},
        {"\xC3\xA9", 0},
        {"a\xE2", 1},
        {"a\xE2\x82", 2},
        {"\xE2\x82\xAC", 0},
        {"\xF0", 1},
        {"\xF0\x9F", 2},
        {"\xF0\x9F\x92", 3},
        {"\xF0\x9F\x92\xA9", 0},
        {"\x80\x80\x80", 0},
        {"\xED\xA0", 0},
        {"\xFF", 0},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++)
        assert_int_equal(px_utf8_incomplete_tail(rows[i].bytes, strlen(rows[i].bytes)), rows[i].tail);
}

/* Cuts a text at each place. Repairing its two parts separately must give the same as repairing the whole text. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    const char text[] = "x\xE2\x82\xAC\xF0\x9F\x92\xA9\xFF\xC3\xA9";
    const size_t length = sizeof text - 1;
    px_auto_buffer struct px_buffer whole = {0};
    px_utf8_repair(&whole, text, length);
    for (size_t cut = 0; cut <= length; cut++) {
        px_auto_buffer struct px_buffer parts = {0};
        size_t first = cut - px_utf8_incomplete_tail(text, cut);
        px_utf8_repair(&parts, text, first);
        px_utf8_repair(&parts, text + first, length - first);
        assert_string_equal(px_buffer_string(&parts), px_buffer_string(&whole));
        assert_int_equal(px_utf8_truncate(text, length, cut), first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_repair_of_nothing),
        cmocka_unit_test(test_a_bad_byte_is_found_at_each_place),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_incomplete_tail),
        cmocka_unit_test(test_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
