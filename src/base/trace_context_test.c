/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/trace_context.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static void takes_what_the_standard_allows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned flags;
    } good[] = {
        {"00-" TRACE "-" SPAN "-01", 1}, {"00-" TRACE "-" SPAN "-00", 0},      {"00-" TRACE "-" SPAN "-ff", 0xff},
        {"01-" TRACE "-" SPAN "-01", 1}, {"cc-" TRACE "-" SPAN "-01-what", 1}, {"fe-" TRACE "-" SPAN "-03-", 3},
    };
    for (size_t i = 0; i < PX_COUNT(good); i++) {
        struct px_trace_context context;
        assert_true(px_trace_context_parse(good[i].text, &context));
        assert_string_equal(context.trace_id, TRACE);
        assert_string_equal(context.span_id, SPAN);
        assert_int_equal(context.flags, good[i].flags);
    }
}

static void refuses_everything_else_and_leaves_it_empty(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-01-extra",
        "00-" TRACE "-" SPAN "-01 ",
        "01-" TRACE "-" SPAN "-01x",
        "ff-" TRACE "-" SPAN "-01",
        "0x-" TRACE "-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" SPAN "-0G",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "0-" SPAN "-01",
        " 00-" TRACE "-" SPAN "-01",
        "00-" TRACE "-" SPAN "\n-01",
    };
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        struct px_trace_context context;
        memset(&context, 1, sizeof context);
        assert_false(px_trace_context_parse(bad[i], &context));
        assert_string_equal(context.trace_id, "");
    }
    struct px_trace_context context;
    assert_false(px_trace_context_parse(NULL, &context));
}

/* Changes single bytes of a good text, many times. What is accepted has only digits, and is written back as it was. */
static void whatever_is_accepted_has_only_digits(void **state)
{
    (void)state;
    uint64_t random = 0x9E3779B97F4A7C15u;
    static const char good[] = "00-" TRACE "-" SPAN "-01", alphabet[] = "0123456789abcdefABCFGgxz-_ \n\t\x01\x80\xff,=";
    size_t accepted = 0, count = 200000;
    for (size_t i = 0; i < count; i++) {
        char text[80];
        size_t length = sizeof good - 1;
        memcpy(text, good, sizeof good);
        for (unsigned change = 0; change < 1 + i % 3; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t at = (random >> 33) % (length + 2);
            text[at < length ? at : length] = at > length ? '\0' : alphabet[(random >> 20) % (sizeof alphabet - 1)];
            text[length + 1] = '\0';
        }
        struct px_trace_context context;
        if (!px_trace_context_parse(text, &context)) {
            assert_string_equal(context.trace_id, "");
            continue;
        }
        char back[PX_TRACEPARENT_SIZE];
        accepted++;
        assert_int_equal(strspn(context.trace_id, "0123456789abcdef"), 32);
        assert_int_equal(strspn(context.span_id, "0123456789abcdef"), 16);
        px_trace_context_format(&context, back);
        assert_memory_equal(back + 2, text + 2, sizeof back - 3);
    }
    assert_true(accepted > 100 && accepted < count);
}

static void tracestates_are_lists_of_short_members(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a=b", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "t@v=1 , x=2", "a=,b=c", ",a=b,,", "a/b*c-d_e=~!"};
    static const char *const bad[] = {"", ",", "a", "=b", "A=b", "a=b=c", "a=b\n", "a=\x7f", "a=\xc3\xa4", "a b=c"};
    for (size_t i = 0; i < PX_COUNT(good); i++)
        assert_true(px_trace_state_is_valid(good[i]));
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        assert_false(px_trace_state_is_valid(bad[i]));
    char many[300] = "";
    for (int i = 0; i < 33; i++)
        strcat(many, "a=b,");
    assert_false(px_trace_state_is_valid(many));
    char large[700];
    memset(large, 'a', sizeof large);
    memcpy(large, "a=", 2);
    large[sizeof large - 1] = '\0';
    assert_false(px_trace_state_is_valid(large));
}

static void ids_differ_and_are_never_zero(void **state)
{
    (void)state;
    char before[33] = "";
    for (int i = 0; i < 1000; i++) {
        char trace[33], span[17];
        assert_int_equal(px_trace_make_id(trace, 32), 0);
        assert_int_equal(px_trace_make_id(span, 16), 0);
        assert_int_equal(strspn(trace, "0123456789abcdef"), 32);
        assert_int_equal(strspn(span, "0123456789abcdef"), 16);
        assert_true(strspn(trace, "0") < 32 && strspn(span, "0") < 16);
        assert_string_not_equal(trace, before);
        memcpy(before, trace, sizeof before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_standard_allows),
        cmocka_unit_test(refuses_everything_else_and_leaves_it_empty),
        cmocka_unit_test(whatever_is_accepted_has_only_digits),
        cmocka_unit_test(tracestates_are_lists_of_short_members),
        cmocka_unit_test(ids_differ_and_are_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
