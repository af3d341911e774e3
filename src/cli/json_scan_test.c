/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/json_scan.h"

static struct json_part whole(const char *text)
{
    return (struct json_part){text, strlen(text)};
}

static void check(struct json_part part, const char *wanted)
{
    if (!wanted) {
        assert_null(part.at);
        return;
    }
    assert_non_null(part.at);
    assert_int_equal(part.length, strlen(wanted));
    assert_memory_equal(part.at, wanted, part.length);
}

static void test_a_member_keeps_its_form(void **state)
{
    (void)state;
    struct json_part object =
        whole("{ \"a\" : 0.10 ,\"b\":[1, {\"c\": \"]}\\\"\"}] , \"c\":\"x\\\\\",\"d\":null,\"e\":{}}");
    check(json_scan_member(object, "a"), "0.10");
    check(json_scan_member(object, "b"), "[1, {\"c\": \"]}\\\"\"}]");
    check(json_scan_member(object, "c"), "\"x\\\\\"");
    check(json_scan_member(object, "d"), "null");
    check(json_scan_member(object, "e"), "{}");
    check(json_scan_member(object, "f"), NULL);
    check(json_scan_member(whole("{}"), "a"), NULL);
    check(json_scan_member(whole("[1]"), "a"), NULL);
    check(json_scan_member((struct json_part){NULL, 0}, "a"), NULL);
}

static void test_a_name_inside_of_a_value_is_no_member(void **state)
{
    (void)state;
    struct json_part object = whole("{\"x\":{\"a\":1},\"y\":\"\\\"a\\\":2\",\"a\":3}");
    check(json_scan_member(object, "a"), "3");
}

static void test_items_of_an_array(void **state)
{
    (void)state;
    struct json_part array = whole("[ 1e400 , \"a,b\", [2,3],{\"k\":[4]} ]");
    check(json_scan_item(array, 0), "1e400");
    check(json_scan_item(array, 1), "\"a,b\"");
    check(json_scan_item(array, 2), "[2,3]");
    check(json_scan_item(array, 3), "{\"k\":[4]}");
    check(json_scan_item(array, 4), NULL);
    check(json_scan_item(whole("[]"), 0), NULL);
    check(json_scan_item(json_scan_member(json_scan_item(array, 3), "k"), 0), "4");
}

/* A text that is cut is not valid, but nothing beyond its end may be read: run it with Valgrind or ASan. */
static void test_a_text_that_is_cut_is_not_left(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,\"\\u0041\",{\"b\":\"c\\\"\"}],\"z\":true}";
    char copy[sizeof text];
    for (size_t length = 0; length < sizeof text; length++) {
        char *end = copy + sizeof copy - length;
        memcpy(end, text, length);
        json_scan_member((struct json_part){end, length}, "z");
        json_scan_item(json_scan_member((struct json_part){end, length}, "a"), 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_keeps_its_form),
        cmocka_unit_test(test_a_name_inside_of_a_value_is_no_member),
        cmocka_unit_test(test_items_of_an_array),
        cmocka_unit_test(test_a_text_that_is_cut_is_not_left),
    };
    return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
