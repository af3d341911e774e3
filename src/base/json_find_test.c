/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_find.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* Compares what was found with `value`; NULL: nothing. */
static void check_found(struct px_json_span found, const char *value)
{
    if (!value) {
        assert_null(found.at);
        return;
    }
    assert_non_null(found.at);
    assert_int_equal(found.length, strlen(value));
    assert_memory_equal(found.at, value, found.length);
}

static void check(const char *text, const char *value)
{
    check_found(px_json_find((struct px_json_span){text, strlen(text)}, "x"), value);
}

static void test_members_of_the_object_itself(void **state)
{
    (void)state;
    check("{\"x\":1}", "1");
    check(" { \"y\" : [1, {\"x\": 2}] , \"x\"\t:\r\n true }", "true");
    check("{\"x\":\"a\\\",}\",\"y\":2}", "\"a\\\",}\"");
    check("{\"x\":{\"x\":[1,2]},\"y\":2}", "{\"x\":[1,2]}");
    check("{\"x\":1,\"x\":2}", "1");
    check("{\"x\":0.10}", "0.10");
    check("{\"y\":\"\\\"x\\\":2\",\"x\" : {\"a\":\"]}\\\"\"} }", "{\"a\":\"]}\\\"\"}");
}

static void test_what_is_no_member_of_it(void **state)
{
    (void)state;
    const char *const texts[] = {"",
                                 "{}",
                                 "\"x\":1",
                                 "{\"code\":\"print(\\\"x\\\": 1)\"}", /* in a string */
                                 "{\"code\":\"\\\\\",\"y\":\"x\"}",
                                 "{\"y\":\"x\",\"z\":1}", /* a value */
                                 "{\"y\":{\"x\":1}}",
                                 "[{\"x\":1}]",
                                 "{\"xx\":1}",
                                 "{\"\":1}",
                                 "{\"\\u0078\":1}"};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        check(texts[i], NULL);
    assert_null(px_json_find((struct px_json_span){0}, "x").at);
}

static void test_items_of_an_array(void **state)
{
    (void)state;
    static const char text[] = "[ 1e400 , \"a,b\", [2,3],{\"x\":[4]} ]";
    const struct px_json_span array = {text, sizeof text - 1}, none = {"[]", 2};
    check_found(px_json_item(array, 0), "1e400");
    check_found(px_json_item(array, 1), "\"a,b\"");
    check_found(px_json_item(array, 2), "[2,3]");
    check_found(px_json_item(array, 3), "{\"x\":[4]}");
    check_found(px_json_item(array, 4), NULL);
    check_found(px_json_item(none, 0), NULL);
    check_found(px_json_item(px_json_find(px_json_item(array, 3), "x"), 0), "4");
    check_found(px_json_item((struct px_json_span){0}, 0), NULL);
}

/* Each beginning of a text, in memory of its own length, so that a sanitizer sees a read past its end. */
static void test_text_that_is_cut_off(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\\\\":\"\\\"\",\"x\":[\"\\\\\",{}]}";
    for (size_t length = 1; length < sizeof text; length++) {
        px_auto_free char *copy = test_malloc(length);
        memcpy(copy, text, length);
        struct px_json_span found = px_json_find((struct px_json_span){copy, length}, "x");
        assert_true(!found.at || (found.at >= copy && found.at + found.length <= copy + length));
        px_json_item(found, 3);
        test_free(TAKE_PTR(copy));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_of_the_object_itself),
        cmocka_unit_test(test_what_is_no_member_of_it),
        cmocka_unit_test(test_items_of_an_array),
        cmocka_unit_test(test_text_that_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
