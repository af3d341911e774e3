/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/json_memory.h"

/* Appends "[", `item` that many times, and "]". */
static void fill(struct px_buffer *text, const char *item, size_t count)
{
    px_buffer_add_byte(text, '[');
    for (size_t i = 0; i < count; i++)
        px_buffer_printf(text, "%s%s", i ? "," : "", item);
    px_buffer_add_byte(text, ']');
}

static void it_is_at_least_what_parsing_takes(void **state)
{
    (void)state;
    static const char *const items[] = {
        "{}",
        "[]",
        "1",
        "1.5",
        "\"\"",
        "\"12345678901234567890123456789\"",
        "{\"a\":1}",
        "[[[[1]]]]",
        "{\"a\":{},\"b\":[],\"c\":\"\"}",
        "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}",
    };
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        px_auto_buffer struct px_buffer text = {0};
        fill(&text, items[i], 20000);
        size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
        px_auto_json json_t *value = json_loadb(text.data, text.length, 0, NULL);
        size_t taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
        uint64_t weight = px_json_memory_estimate(text.data, text.length).bytes;
        assert_non_null(value);
        if (taken) { /* 0 with sanitizers: their malloc has no such numbers */
            if (weight < taken || weight > 3 * taken)
                print_error("%s: %zu taken, weight %zu\n", items[i], taken, (size_t)weight);
            assert_true(weight >= taken && weight <= 3 * taken);
        }
    }
}

static void texts_are_no_values(void **state)
{
    (void)state;
    static const char text[] = "\"[[{{,,::\\\"[[\\\\\"";
    assert_int_equal(px_json_memory_estimate(text, strlen(text)).bytes, 64 + 64 + strlen(text));
    assert_int_equal(px_json_memory_estimate(text, strlen(text)).depth, 0);
    assert_int_equal(px_json_memory_estimate("[[1],{\"a\":[]}]]]][", 18).depth, 3);
    assert_int_equal(px_json_memory_estimate("\"\\", 2).depth, 0);
    assert_int_equal(px_json_memory_estimate("", 0).depth, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_at_least_what_parsing_takes),
        cmocka_unit_test(texts_are_no_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
