/* SPDX-License-Identifier: Apache-2.0 */
/* Displays as a child may send them. All tests send packets, as a child does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "result/result.h"

struct fixture {
    pyexec_result *result;
    const char *why;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    uint64_t times[2] = {0, 0};
    px_auto_buffer struct px_buffer packet = {0};
    fixture = (struct fixture){.result = px_result_new()};
    assert_non_null(fixture.result);
    px_wire_add(&packet, PX_RESULT_LOCKED, times, sizeof times);
    assert_int_equal(px_child_result_parse(&fixture.result->claims, packet.data, packet.length, &fixture.why), 0);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pyexec_result_free(f->result);
    return 0;
}

static int put_bytes(struct fixture *f, uint16_t kind, const void *bytes, size_t length)
{
    px_auto_buffer struct px_buffer packet = {0};
    px_wire_add(&packet, kind, bytes, length);
    return px_child_result_parse(&f->result->claims, packet.data, packet.length, &f->why);
}

static int put(struct fixture *f, uint16_t kind, const char *text)
{
    return put_bytes(f, kind, text, strlen(text));
}

static void begin(struct fixture *f, uint8_t kind)
{
    assert_int_equal(put_bytes(f, PX_RESULT_DISPLAY, &kind, 1), 0);
}

static void add(struct fixture *f, const char *mime, const char *data)
{
    assert_int_equal(put(f, PX_RESULT_DISPLAY_FORM, mime), 0);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_DATA, data), 0);
}

static void end(struct fixture *f)
{
    assert_int_equal(put(f, PX_RESULT_DISPLAY_END, ""), 0);
}

static void show(struct fixture *f, const char *mime, const char *data)
{
    begin(f, PX_DISPLAY_SHOWN);
    add(f, mime, data);
    end(f);
}

/* Checks how many displays were kept and how many dropped. */
static void assert_counts(const struct fixture *f, size_t kept, uint64_t dropped)
{
    assert_int_equal(pyexec_result_display_count(f->result), kept);
    assert_int_equal(pyexec_result_display_dropped(f->result), dropped);
}

static void forms_become_members(void **state)
{
    struct fixture *f = *state;
    begin(f, PX_DISPLAY_LAST_VALUE);
    add(f, "text/html", "<b a=\"1\">\xc3\xa9\n");
    assert_int_equal(put(f, PX_RESULT_DISPLAY_DATA, "more</b>"), 0);
    add(f, "image/png", "\x89PNG");
    add(f, "application/json", "{\"a\":[1,0.1,null]}");
    assert_int_equal(put(f, PX_RESULT_DISPLAY_METADATA, "{\"w\":"), 0);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_METADATA, "1}"), 0);
    end(f);
    assert_counts(f, 1, 0);
    assert_string_equal(pyexec_result_display_json(f->result, 0),
                        "{\"data\":{\"text/html\":\"<b a=\\\"1\\\">\xc3\xa9\\nmore</b>\",\"image/png\":\"iVBORw==\","
                        "\"application/json\":{\"a\":[1,0.1,null]}},\"metadata\":{\"w\":1},\"last_value\":true}");
    assert_null(pyexec_result_display_json(f->result, 1));
}

static void what_is_not_as_it_must_be_is_dropped(void **state)
{
    struct fixture *f = *state;
    show(f, "text/plain", "\xff");
    show(f, "text", "a");
    show(f, "text/plain\n", "a");
    show(f, "application/json", "{\"a\":");
    show(f, "application/json", "{\"a\":1,\"a\":2}");
    show(f, "application/json", "[1,\n2]");
    show(f, "application/json", "99999999999999999999");
    show(f, "application/json", "1e999");
    show(f, "application/json", "\"\\ud800\"");
    show(f, "application/json", "1 2");
    assert_counts(f, 0, 10);
    begin(f, PX_DISPLAY_SHOWN);
    end(f);
    begin(f, PX_DISPLAY_SHOWN);
    add(f, "text/plain", "a");
    add(f, "text/plain", "b");
    end(f);
    begin(f, PX_DISPLAY_SHOWN);
    add(f, "text/plain", "a");
    assert_int_equal(put(f, PX_RESULT_DISPLAY_METADATA, "[]"), 0);
    end(f);
    begin(f, PX_DISPLAY_SHOWN);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_DATA, "of nothing"), 0);
    end(f);
    assert_counts(f, 0, 14);
    show(f, "text/plain", "a");
    assert_counts(f, 1, 14);
}

static bool is_ok(const char *text, size_t length, bool object)
{
    uint64_t room = PX_JSON_ROOM;
    return px_json_claim_ok(text, length, object, &room);
}

/* Makes a text of `item` repeated, between "[" and "0]". */
static char *list_of(const char *item, size_t count)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add_byte(&text, '[');
    for (size_t i = 0; i < count; i++)
        px_buffer_add_string(&text, item);
    px_buffer_add_string(&text, "0]");
    return px_buffer_take(&text);
}

static void json_is_bounded_in_depth_and_memory(void **state)
{
    (void)state;
    char deep[402];
    memset(deep, '[', 201);
    memset(deep + 201, ']', 201);
    assert_true(is_ok(deep + 1, 400, false));
    assert_false(is_ok(deep, 402, false));
    px_auto_free char *fits = list_of("1,", 1000000), *numbers = list_of("1,", 3000000),
                      *objects = list_of("{},", 480000);
    assert_true(is_ok(fits, strlen(fits), false));
    assert_false(is_ok(numbers, strlen(numbers), false));
    assert_false(is_ok(objects, strlen(objects), false));
    assert_true(is_ok("\"[,:{\\\"[\"", 9, false));
    assert_true(is_ok("{}", 2, true));
    assert_false(is_ok("[]", 2, true));
}

/* A reader of a result parses all of it, so forms and displays share one limit. */
static void all_json_is_bounded_together(void **state)
{
    struct fixture *f = *state;
    px_auto_free char *objects = list_of("{},", 9000);
    for (int i = 0; i < 100; i++)
        show(f, "application/json", objects);
    size_t kept = pyexec_result_display_count(f->result);
    assert_in_range(kept, 40, 50);
    assert_counts(f, kept, 100 - kept);
    show(f, "application/json", "1");
    show(f, "text/plain", "[]");
    assert_counts(f, kept + 2, 100 - kept);
}

static void limits_of_the_policy_hold(void **state)
{
    struct fixture *f = *state;
    f->result->claims.displays.max_count = 2;
    f->result->claims.displays.max_bytes = 10;
    show(f, "text/plain", "12345678901");
    assert_counts(f, 0, 1);
    show(f, "image/png", "1234567"); /* twelve bytes in base64 */
    assert_counts(f, 0, 2);
    show(f, "text/plain", "123456");
    show(f, "text/plain", "12345");
    assert_counts(f, 1, 3);
    show(f, "text/plain", "\x01"); /* six bytes of JSON */
    show(f, "text/plain", "\n\n\n");
    assert_counts(f, 1, 5);
    show(f, "text/plain", "\n\n");
    show(f, "text/plain", "");
    assert_counts(f, 2, 6);
}

static void data_beyond_the_limit_is_not_kept(void **state)
{
    struct fixture *f = *state;
    f->result->claims.displays.max_bytes = 1000;
    px_auto_free char *block = malloc(30000);
    memset(block, 'a', 30000);
    begin(f, PX_DISPLAY_SHOWN);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_FORM, "text/plain"), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(put_bytes(f, PX_RESULT_DISPLAY_DATA, block, 30000), 0);
    assert_true(f->result->claims.displays.data.length <= 30000);
    end(f);
    assert_counts(f, 0, 1);
}

static void forms_are_counted(void **state)
{
    struct fixture *f = *state;
    char name[32];
    begin(f, PX_DISPLAY_SHOWN);
    for (int i = 0; i < PX_DISPLAY_FORMS_MAX + 1; i++) {
        snprintf(name, sizeof name, "text/x-%d", i);
        add(f, name, "a");
    }
    end(f);
    assert_counts(f, 0, 1);
}

static void only_disorder_breaks_the_protocol(void **state)
{
    struct fixture *f = *state;
    uint8_t kind = PX_DISPLAY_KINDS;
    assert_int_equal(put(f, PX_RESULT_DISPLAY_END, ""), -1);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_FORM, "text/plain"), -1);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_DATA, "a"), -1);
    assert_int_equal(put(f, PX_RESULT_DISPLAY_METADATA, "{}"), -1);
    assert_int_equal(put_bytes(f, PX_RESULT_DISPLAY, &kind, 1), -1);
    assert_int_equal(put(f, PX_RESULT_DISPLAY, ""), -1);
    begin(f, PX_DISPLAY_SHOWN);
    kind = PX_DISPLAY_SHOWN;
    assert_int_equal(put_bytes(f, PX_RESULT_DISPLAY, &kind, 1), -1);
    assert_string_equal(f->why, "a display within a display");
}

static void one_that_did_not_end_is_dropped(void **state)
{
    struct fixture *f = *state;
    show(f, "text/plain", "a");
    begin(f, PX_DISPLAY_SHOWN);
    add(f, "text/plain", "b");
    px_displays_finish(&f->result->claims.displays);
    assert_counts(f, 1, 1);
    assert_int_equal(put_bytes(f, PX_RESULT_DISPLAYS_DROPPED, "\3\0\0\0\0\0\0\0", 8), 0);
    assert_counts(f, 1, 4);
    assert_int_equal(put_bytes(f, PX_RESULT_DISPLAYS_DROPPED, "\3\0\0\0\0\0\0\0", 8), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(forms_become_members),
        TEST(what_is_not_as_it_must_be_is_dropped),
        TEST(json_is_bounded_in_depth_and_memory),
        TEST(all_json_is_bounded_together),
        TEST(limits_of_the_policy_hold),
        TEST(data_beyond_the_limit_is_not_kept),
        TEST(forms_are_counted),
        TEST(only_disorder_breaks_the_protocol),
        TEST(one_that_did_not_end_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
