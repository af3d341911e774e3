/* SPDX-License-Identifier: Apache-2.0 */
#include "base/message_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void fill(char *text, size_t size)
{
    memset(text, 'a', size - 1);
    text[size - 1] = '\0';
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct px_message_header longest = {.arrived_ns = INT64_MIN, .bytes = INT64_MIN}, got;
    fill(longest.node, sizeof longest.node);
    fill(longest.destination, sizeof longest.destination);
    fill(longest.queue, sizeof longest.queue);
    const struct px_message_header given[] = {
        longest, {12, 0, "n-1", "pyexec.v1.run", "pyexec"}, {1, 2, "n", "pyexec.v1.node.{node}.s", ""}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        char value[PX_MESSAGE_HEADER_SIZE];
        px_message_header_format(&given[i], value);
        assert_true(px_message_header_parse(value, &got));
        assert_int_equal(got.arrived_ns, given[i].arrived_ns);
        assert_int_equal(got.bytes, given[i].bytes);
        assert_string_equal(got.node, given[i].node);
        assert_string_equal(got.destination, given[i].destination);
        assert_string_equal(got.queue, given[i].queue);
    }
}

static void test_what_is_no_such_header(void **state)
{
    (void)state;
    struct px_message_header got;
    const char *const bad[] = {"", "x", "1", "1 2", "1 2 n", "1 x n d q"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(px_message_header_parse(bad[i], &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_what_is_no_such_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
