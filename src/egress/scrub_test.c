/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/scrub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct px_scrub_pattern one[] = {{"sk-0123456789abcdefghijklmnop", "pyexec-secret-NAME-aaaaaaaaaa", 29}};
/* The end of the first is the beginning of the second. */
static const struct px_scrub_pattern two[] = {{"abcdefgh", "11111111", 8}, {"efghijkl", "22222222", 8}};

static void scrub_in_parts(const struct px_scrub_pattern *patterns, size_t count, const char *text, size_t part,
                           bool pauses, struct px_buffer *out)
{
    struct px_scrub scrub;
    size_t length = strlen(text);
    px_scrub_init(&scrub, patterns, count);
    for (size_t at = 0; at < length; at += part) {
        px_scrub_take(&scrub, text + at, length - at < part ? length - at : part, out);
        if (pauses)
            px_scrub_pause(&scrub, out);
    }
    px_scrub_end(&scrub, out);
    px_scrub_done(&scrub);
    assert_true(px_buffer_ok(out));
}

static void expect(const struct px_scrub_pattern *patterns, size_t count, const char *text, const char *wanted)
{
    for (size_t part = 1; part <= strlen(text); part++) {
        px_auto_buffer struct px_buffer out = {0};
        scrub_in_parts(patterns, count, text, part, false, &out);
        assert_string_equal(px_buffer_string(&out), wanted);
    }
}

static void test_found_in_every_split(void **state)
{
    (void)state;
    expect(one, 1, "key=sk-0123456789abcdefghijklmnop; sk-01", "key=pyexec-secret-NAME-aaaaaaaaaa; sk-01");
    expect(one, 1, "sk-sk-0123456789abcdefghijklmnopp", "sk-pyexec-secret-NAME-aaaaaaaaaap");
    expect(one, 1, "sk-0123456789abcdefghijklmno", "sk-0123456789abcdefghijklmno");
}

static void test_overlaps_leave_nothing(void **state)
{
    (void)state;
    expect(two, 2, "xabcdefghijkly", "x111122222222y");
    expect(two, 2, "abcdefghabcdefghijklefghijkl", "1111111111112222222222222222");
}

static void test_repeats_inside_of_a_secret(void **state)
{
    static const struct px_scrub_pattern pattern[] = {{"abababab", "XXXXXXXX", 8}};
    (void)state;
    expect(pattern, 1, "abababababc", "XXXXXXXXXXc");
    expect(pattern, 1, "babababa", "babababa");
}

static void test_bytes_that_begin_no_secret_are_not_held(void **state)
{
    px_auto(px_scrub_done) struct px_scrub scrub;
    px_auto_buffer struct px_buffer out = {0};
    (void)state;
    px_scrub_init(&scrub, one, 1);
    px_scrub_take(&scrub, "data: 1\n\n", 9, &out);
    assert_int_equal(out.length, 9);
}

/* An answer that ends in the secret's first letter must not wait for the next one. */
static void test_a_pause_gives_out_few_bytes_once(void **state)
{
    px_auto(px_scrub_done) struct px_scrub scrub;
    px_auto_buffer struct px_buffer out = {0};
    (void)state;
    px_scrub_init(&scrub, one, 1);
    px_scrub_take(&scrub, "yes", 3, &out);
    assert_string_equal(px_buffer_string(&out), "ye");
    px_scrub_pause(&scrub, &out);
    px_scrub_pause(&scrub, &out);
    assert_string_equal(px_buffer_string(&out), "yes");
    px_scrub_take(&scrub, "k-0123", 6, &out);
    px_scrub_pause(&scrub, &out);
    assert_string_equal(px_buffer_string(&out), "yes");
    px_scrub_take(&scrub, "456789abcdefghijklmnop.", 23, &out);
    assert_string_equal(px_buffer_string(&out), "yesyexec-secret-NAME-aaaaaaaaaa.");
}

static void test_pauses_never_give_out_more_than_the_beginning(void **state)
{
    static const char text[] = "sk-0123456789abcdefghijklmnop";
    (void)state;
    for (size_t part = 1; part < sizeof text; part++) {
        px_auto_buffer struct px_buffer out = {0};
        scrub_in_parts(one, 1, text, part, true, &out);
        assert_int_equal(out.length, sizeof text - 1);
        assert_string_equal(px_buffer_string(&out) + PX_SCRUB_PAUSE_MAX, "xec-secret-NAME-aaaaaaaaaa");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_in_every_split),
        cmocka_unit_test(test_overlaps_leave_nothing),
        cmocka_unit_test(test_repeats_inside_of_a_secret),
        cmocka_unit_test(test_bytes_that_begin_no_secret_are_not_held),
        cmocka_unit_test(test_a_pause_gives_out_few_bytes_once),
        cmocka_unit_test(test_pauses_never_give_out_more_than_the_beginning),
    };
    return cmocka_run_group_tests_name("egress/scrub", tests, NULL, NULL);
}
