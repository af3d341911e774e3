/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "serve/range.h"

static void test_one_range(void **state)
{
    static const struct {
        const char *header;
        uint64_t size, first, count;
    } rows[] = {
        {"bytes=0-0", 10, 0, 1},
        {"bytes=2-5", 10, 2, 4},
        {"bytes=9-9", 10, 9, 1},
        {"bytes=3-", 10, 3, 7},
        {"bytes=0-", 1, 0, 1},
        {"bytes=5-100", 10, 5, 5},
        {"bytes=5-18446744073709551615", 10, 5, 5},
        {"bytes=5-99999999999999999999999", 10, 5, 5},
        {"bytes=-1", 10, 9, 1},
        {"bytes=-10", 10, 0, 10},
        {"bytes=-11", 10, 0, 10},
        {"bytes=-99999999999999999999999", 10, 0, 10},
        {"bytes=4294967296-4294967297", 5000000000, 4294967296, 2},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        uint64_t first = 77, count = 77;
        assert_int_equal(px_range_parse(rows[i].header, rows[i].size, &first, &count), 1);
        assert_int_equal(first, rows[i].first);
        assert_int_equal(count, rows[i].count);
    }
}

static void test_the_whole_file_where_there_is_no_range_or_several(void **state)
{
    static const char *const headers[] = {"",           "bytes",         "bytes=",     "bytes=-",    "bytes=--1",
                                          "bytes=a-b",  "bytes=1",       "bytes=1-b",  "bytes=1-2x", "bytes=-2x",
                                          "bytes=5-2",  "bytes= 1-2",    "bytes=1 -2", "bytes=1--2", "bytes=+1-2",
                                          "bytes=1-+2", "bytes=0-1,3-4", "items=1-2",  "Bytes 1-2",  "1-2"};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(headers); i++) {
        uint64_t first = 77, count = 77;
        assert_int_equal(px_range_parse(headers[i], 10, &first, &count), 0);
        assert_true(first == 77 && count == 77);
    }
    uint64_t first, count;
    assert_int_equal(px_range_parse(NULL, 10, &first, &count), 0);
}

static void test_outside_of_the_file(void **state)
{
    static const struct {
        const char *header;
        uint64_t size;
    } rows[] = {
        {"bytes=10-", 10}, {"bytes=10-20", 10}, {"bytes=0-", 0}, {"bytes=0-0", 0},
        {"bytes=-0", 10},  {"bytes=-5", 0},     {"bytes=-0", 0}, {"bytes=99999999999999999999999-", 10},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        uint64_t first = 0, count = 0;
        assert_int_equal(px_range_parse(rows[i].header, rows[i].size, &first, &count), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_range),
        cmocka_unit_test(test_the_whole_file_where_there_is_no_range_or_several),
        cmocka_unit_test(test_outside_of_the_file),
    };
    return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
