/* SPDX-License-Identifier: Apache-2.0 */
/* The byte string that grows, and what it contains after memory has run out. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"

static void check_invariants(const struct px_buffer *buffer)
{
    if (!buffer->data)
        return;
    assert_true(buffer->length < buffer->capacity);
    assert_int_equal(buffer->data[buffer->length], 0);
}

static void test_empty(void **state)
{
    (void)state;
    struct px_buffer buffer = {0};
    assert_string_equal(px_buffer_string(&buffer), "");
    px_buffer_consume(&buffer, 0);
    px_buffer_consume(&buffer, 5);
    assert_int_equal(buffer.length, 0);
    px_auto_free char *taken = px_buffer_take(&buffer);
    assert_string_equal(taken, "");
    px_buffer_done(&buffer);
    px_buffer_done(&buffer);
}

static void test_append(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer buffer = {0};
    for (int i = 0; i < 1000; i++) {
        px_buffer_add_string(&buffer, "ab");
        px_buffer_add_byte(&buffer, '\0');
        px_buffer_printf(&buffer, "%d", i);
        check_invariants(&buffer);
    }
    px_buffer_add(&buffer, NULL, 0);
    px_buffer_add_buffer(&buffer, &(struct px_buffer){0});
    px_buffer_printf(&buffer, "%s", "");
    assert_true(px_buffer_ok(&buffer));
    assert_int_equal(buffer.length, 1000 * 3 + 10 + 90 * 2 + 900 * 3);
    assert_memory_equal(buffer.data,
                        "ab\0"
                        "0ab\0"
                        "1",
                        8);
}

static void test_consume(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer buffer = {0};
    px_buffer_add_string(&buffer, "hello world");
    px_buffer_consume(&buffer, 6);
    assert_string_equal(px_buffer_string(&buffer), "world");
    px_buffer_consume(&buffer, 100);
    assert_string_equal(px_buffer_string(&buffer), "");
    px_buffer_add_string(&buffer, "again");
    assert_string_equal(px_buffer_string(&buffer), "again");
}

static void test_reserve(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer buffer = {0};
    px_buffer_add_string(&buffer, "x");
    char *to = px_buffer_reserve(&buffer, 5000);
    assert_non_null(to);
    check_invariants(&buffer);
    memset(to, 'y', 5000);
    buffer.length += 5000;
    buffer.data[buffer.length] = '\0';
    assert_int_equal(strlen(px_buffer_string(&buffer)), 5001);
}

static void test_failure_sticks(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer buffer = {0};
    px_buffer_add_string(&buffer, "kept");
    assert_null(px_buffer_reserve(&buffer, SIZE_MAX - 2));
    assert_false(px_buffer_ok(&buffer));
    px_buffer_add_string(&buffer, " dropped");
    px_buffer_printf(&buffer, "%d", 1);
    assert_null(px_buffer_reserve(&buffer, 1));
    assert_null(px_buffer_string(&buffer));
    assert_string_equal(px_buffer_shown(&buffer), "");
    assert_int_equal(px_buffer_length(&buffer), 0);
    px_auto_buffer struct px_buffer other = {0};
    px_buffer_add_string(&other, px_buffer_string(&buffer));
    assert_false(px_buffer_ok(&other));
    px_auto_buffer struct px_buffer third = {0};
    px_buffer_add_buffer(&third, &buffer);
    assert_false(px_buffer_ok(&third));
    assert_int_equal(px_buffer_length(&third), 0);
    assert_null(px_buffer_take(&buffer));
    assert_true(px_buffer_ok(&buffer));
    assert_null(buffer.data);
}

static void test_take(void **state)
{
    (void)state;
    struct px_buffer buffer = {0};
    px_buffer_add_string(&buffer, "mine");
    px_auto_free char *taken = px_buffer_take(&buffer);
    assert_string_equal(taken, "mine");
    assert_null(buffer.data);
    assert_int_equal(buffer.length, 0);
}

static void test_integers(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 7, -7, 10, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        px_auto_buffer struct px_buffer added = {0};
        px_auto_buffer struct px_buffer printed = {0};
        px_buffer_add_integer(&added, numbers[i]);
        px_buffer_printf(&printed, "%" PRId64, numbers[i]);
        assert_string_equal(px_buffer_string(&added), px_buffer_string(&printed));
    }
}

/* A text is formatted at once into the memory that is there, or again when it has been made larger. */
static void test_printf_at_every_length(void **state)
{
    (void)state;
    static char wanted[300];
    memset(wanted, 'x', sizeof wanted - 1);
    for (int before = 0; before < 140; before++)
        for (int length = 0; length < 140; length++) {
            px_auto_buffer struct px_buffer buffer = {0};
            px_buffer_add(&buffer, wanted, (size_t)before);
            px_buffer_printf(&buffer, "%.*s", length, wanted);
            check_invariants(&buffer);
            assert_int_equal(buffer.length, before + length);
            assert_memory_equal(px_buffer_string(&buffer), wanted, buffer.length);
        }
}

static void test_pairs_are_found_by_their_names(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer pairs = {0};
    assert_null(px_buffer_pair(&pairs, ""));
    px_buffer_add_pair(&pairs, "first", "one, and more", 3);
    px_buffer_add_pair(&pairs, "empty", "", 0);
    px_buffer_add_pair(&pairs, "first", "two", 3);
    assert_string_equal(px_buffer_pair(&pairs, "first"), "one");
    assert_string_equal(px_buffer_pair(&pairs, "empty"), "");
    assert_null(px_buffer_pair(&pairs, "one"));
    assert_null(px_buffer_pair(&pairs, "firs"));
    px_buffer_add_pair(&pairs, "cut", "a\0b", 3); /* a value may have any byte: the reader stays within the buffer */
    assert_string_equal(px_buffer_pair(&pairs, "cut"), "a");
    assert_null(px_buffer_pair(&pairs, "last"));
    pairs.failed = true;
    assert_null(px_buffer_pair(&pairs, "first"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_printf_at_every_length),
        cmocka_unit_test(test_pairs_are_found_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
