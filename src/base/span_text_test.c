/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"

static void test_spans_with_attributes(void **state)
{
    (void)state;
    struct px_span_text to = {.trace_id = TRACE, .tracestate = "a=b", .flags = 1, .epoch_ns = 1000};
    px_span_begin(&to, "b7ad6b7169203331", "", true, "first \"one\"", PX_SPAN_SERVER, 5, 7);
    px_span_string(&to, "s", "t");
    px_span_string(&to, "none", NULL);
    px_span_integer(&to, "i", -3);
    px_span_real(&to, "r", 1.5);
    px_span_boolean(&to, "b", true);
    px_span_end(&to, NULL, "no error, so no message");
    to.tracestate = NULL;
    px_span_begin(&to, "00f067aa0ba902b7", "b7ad6b7169203331", true, "second", PX_SPAN_INTERNAL, 9, 8);
    px_span_end(&to, "timeout", "too slow");
    assert_string_equal(
        px_buffer_string(&to.text),
        "{\"traceId\":\"" TRACE "\",\"spanId\":\"b7ad6b7169203331\",\"traceState\":\"a=b\",\"flags\":257,\"kind\":2,"
        "\"name\":\"first \\\"one\\\"\",\"startTimeUnixNano\":\"1005\",\"endTimeUnixNano\":\"1007\",\"attributes\":["
        "{\"key\":\"s\",\"value\":{\"stringValue\":\"t\"}},{\"key\":\"i\",\"value\":{\"intValue\":\"-3\"}},"
        "{\"key\":\"r\",\"value\":{\"doubleValue\":1.5}},{\"key\":\"b\",\"value\":{\"boolValue\":true}}],"
        "\"status\":{\"code\":0}},"
        "{\"traceId\":\"" TRACE
        "\",\"spanId\":\"00f067aa0ba902b7\",\"parentSpanId\":\"b7ad6b7169203331\",\"flags\":769,"
        "\"kind\":1,\"name\":\"second\",\"startTimeUnixNano\":\"1009\",\"endTimeUnixNano\":\"1009\",\"attributes\":["
        "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"timeout\"}}],"
        "\"status\":{\"code\":2,\"message\":\"too slow\"}}");
    assert_int_equal(to.count, 2);
    px_buffer_done(&to.text);
}

/* A message is cut off between two characters. */
static void test_a_long_message_is_cut_off(void **state)
{
    (void)state;
    char message[2000];
    struct px_span_text to = {.trace_id = TRACE};
    memset(message, 'x', sizeof message);
    memcpy(message + 1023, "\xc3\xa4", 3);
    px_span_begin(&to, "b7ad6b7169203331", "", false, "n", PX_SPAN_INTERNAL, 0, 0);
    px_span_end(&to, "e", message);
    const char *shown = strstr(px_buffer_string(&to.text), "\"message\":\"");
    assert_non_null(shown);
    assert_int_equal(strspn(shown + strlen("\"message\":\""), "x"), 1023);
    assert_string_equal(shown + strlen("\"message\":\"") + 1023, "\"}}");
    px_buffer_done(&to.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_with_attributes),
        cmocka_unit_test(test_a_long_message_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
