/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *bytes, *standard, *for_urls;
};

/* The first rows are those of RFC 4648, section 10. */
static const struct row rows[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xff\xef\xbe?>", "/+++Pz4=", "_---Pz4"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        px_auto_buffer struct px_buffer standard = {0}, for_urls = {0}, back = {0}, back_of_url = {0};
        const struct row *row = &rows[i];
        px_base64_encode(&standard, row->bytes, strlen(row->bytes));
        px_base64url_encode(&for_urls, row->bytes, strlen(row->bytes));
        assert_string_equal(px_buffer_string(&standard), row->standard);
        assert_string_equal(px_buffer_string(&for_urls), row->for_urls);
        assert_int_equal(px_base64_decode(&back, row->standard, strlen(row->standard)), 0);
        assert_string_equal(px_buffer_string(&back), row->bytes);
        assert_int_equal(px_base64url_decode(&back_of_url, row->for_urls, strlen(row->for_urls)), 0);
        assert_string_equal(px_buffer_string(&back_of_url), row->bytes);
    }
}

static void test_the_text_goes_to_the_end_of_the_buffer(void **state)
{
    (void)state;
    px_auto_buffer struct px_buffer out = {0};
    px_buffer_add_string(&out, "a.");
    px_base64url_encode(&out, "f", 1);
    px_buffer_add_string(&out, ".b");
    assert_string_equal(px_buffer_string(&out), "a.Zg.b");
}

static void test_what_is_not_base64url(void **state)
{
    (void)state;
    const char *const bad[] = {"Zg==", "Z", "Zm9vY", "Zm9v+", "Zm/v", "Zm 9", "Zm.9", "Zm9\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        px_auto_buffer struct px_buffer out = {0};
        assert_int_equal(px_base64url_decode(&out, bad[i], strlen(bad[i])), -1);
    }
    px_auto_buffer struct px_buffer out = {0};
    assert_int_equal(px_base64url_decode(&out, "Zm\0v", 4), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_the_text_goes_to_the_end_of_the_buffer),
        cmocka_unit_test(test_what_is_not_base64url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
