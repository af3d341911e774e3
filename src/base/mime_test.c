/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mime.h"

static enum px_mime of(const char *name)
{
    return px_mime_of(name, strlen(name));
}

static void names_say_how_data_is_written(void **state)
{
    (void)state;
    static const char *const texts[] = {"text/plain",           "text/html",       "text/x",
                                        "image/svg+xml",        "application/xml", "application/javascript",
                                        "application/xhtml+xml"};
    static const char *const jsons[] = {"application/json", "application/vnd.plotly.v1+json",
                                        "application/vnd.vegalite.v6.json", "application/geo+json"};
    static const char *const others[] = {
        "image/png", "application/pdf", "audio/x-wav", "application/octet-stream", "application/jsonish", "x/y"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(of(texts[i]), PX_MIME_TEXT);
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++)
        assert_int_equal(of(jsons[i]), PX_MIME_JSON);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(of(others[i]), PX_MIME_BINARY);
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "/",       "text",      "text/",  "/plain",      "text/plain/x", "text/plain; charset=utf-8",
        "Text/Plain", "text/\"", "text/a\nb", "text/é", "te xt/plain", "+json"};
    char longest[129];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(of(bad[i]), PX_MIME_BAD);
    assert_int_equal(px_mime_of("text/a\0b", 8), PX_MIME_BAD);
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "text/", 5);
    assert_int_equal(px_mime_of(longest, 127), PX_MIME_TEXT);
    assert_int_equal(px_mime_of(longest, 128), PX_MIME_BAD);
}

static void binary_data_costs_its_base64(void **state)
{
    (void)state;
    static const size_t of_length[] = {0, 4, 4, 4, 8};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(px_mime_cost(PX_MIME_BINARY, "abcdefgh", i), of_length[i]);
    assert_int_equal(px_mime_cost(PX_MIME_TEXT, "a/\xc3\xa9\x7f", 5), 5);
    assert_int_equal(px_mime_cost(PX_MIME_TEXT, "\"\\\b\f\n\r\t", 7), 14);
    assert_int_equal(px_mime_cost(PX_MIME_TEXT, "\0\x1f", 2), 12);
    assert_int_equal(px_mime_cost(PX_MIME_JSON, "\"\\n\"", 4), 4);
    assert_int_equal(px_mime_least_cost(PX_MIME_TEXT, 5), 5);
    assert_int_equal(px_mime_least_cost(PX_MIME_BINARY, 5), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_how_data_is_written),
        cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(binary_data_costs_its_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
