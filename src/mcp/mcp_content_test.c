/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "mcp/mcp_private.h"

#define REST \
    "\"stdout\":\"\",\"stderr\":\"\",\"last_value_repr\":null,\"error_repr\":null,\"error\":null,\"files\":[],\"session\":null"

static json_t *content_of(const char *text)
{
    px_auto_json json_t *result = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(result);
    json_t *content = px_mcp_content(result);
    assert_non_null(content);
    return content;
}

static void assert_same(const char *result, const char *wanted)
{
    px_auto_json json_t *content = content_of(result), *expected = json_loads(wanted, 0, NULL);
    assert_non_null(expected);
    assert_true(json_equal(content, expected));
}

static void displayed_images_are_content(void **state)
{
    (void)state;
    assert_same(
        "{\"status\":\"ok\"," REST ",\"display\":[{\"data\":{\"text/plain\":\"<Figure>\",\"image/png\":\"cG5n\"},"
        "\"metadata\":{}},{\"data\":{\"image/jpeg\":\"anBn\"},\"metadata\":{}}]}",
        "[{\"type\":\"text\",\"text\":\"(no output)\"},{\"type\":\"image\",\"data\":\"cG5n\",\"mimeType\":\"image/png\"},"
        "{\"type\":\"image\",\"data\":\"anBn\",\"mimeType\":\"image/jpeg\"}]");
}

static void what_is_no_image_is_shown_as_its_text(void **state)
{
    (void)state;
    assert_same(
        "{\"status\":\"ok\"," REST ",\"display\":[{\"data\":{\"text/html\":\"<b>\",\"text/plain\":\"table\"},"
        "\"metadata\":{}},{\"data\":{\"image/svg+xml\":\"<svg/>\"},\"metadata\":{}},{\"data\":{},\"metadata\":{}}]}",
        "[{\"type\":\"text\",\"text\":\"(no output)\"},{\"type\":\"text\",\"text\":\"table\"}]");
}

/* What a child claims may be anything that is JSON. */
static void displays_of_other_types_are_left_out(void **state)
{
    (void)state;
    assert_same("{\"status\":\"ok\"," REST
                ",\"display\":[1,null,{\"data\":[]},{\"data\":{\"image/png\":5,\"text/plain\":{}}}]}",
                "[{\"type\":\"text\",\"text\":\"(no output)\"}]");
}

static void a_kill_without_a_traceback_is_said(void **state)
{
    (void)state;
    assert_same(
        "{\"status\":\"killed\",\"stdout\":\"a\",\"stderr\":\"\",\"last_value_repr\":null,\"error_repr\":\"Killed: by the host\","
        "\"error\":{\"hint\":\"Use less.\"},\"display\":[],\"files\":[],\"session\":null}",
        "[{\"type\":\"text\",\"text\":\"a\\nKilled: by the host\\nhint: Use less.\\nstatus: killed\\n\"}]");
}

static void a_text_is_cut_between_characters(void **state)
{
    (void)state;
    static char text[3 * 20000 + 1];
    for (size_t i = 0; i < 20000; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 3);
    px_auto_json json_t *block = px_mcp_text(text, sizeof text - 1);
    assert_non_null(block); /* jansson takes UTF-8 alone */
    assert_true(json_string_length(json_object_get(block, "text")) < 21000);
    assert_non_null(strstr(json_string_value(json_object_get(block, "text")), " bytes left out ...]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(displayed_images_are_content),         cmocka_unit_test(what_is_no_image_is_shown_as_its_text),
        cmocka_unit_test(displays_of_other_types_are_left_out), cmocka_unit_test(a_kill_without_a_traceback_is_said),
        cmocka_unit_test(a_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
