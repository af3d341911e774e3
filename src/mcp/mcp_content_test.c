/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/mime.h"
#include "mcp/mcp_private.h"
#include "result/result.h"

#define REST \
    "\"stdout\":\"\",\"stderr\":\"\",\"last_value_repr\":null,\"error_repr\":null,\"error\":null,\"files\":[],\"session\":null"

/* Sends a display as a child sends it. */
static void send_field(pyexec_result *result, uint16_t kind, const char *bytes, size_t length)
{
    px_auto_buffer struct px_buffer packet = {0};
    const char *why = NULL;
    px_wire_add(&packet, kind, bytes, length);
    assert_int_equal(px_child_result_parse(&result->claims, packet.data, packet.length, &why), 0);
}

static void send_form(pyexec_result *result, const char *mime, const json_t *value)
{
    px_auto_buffer struct px_buffer data = {0};
    px_auto_free char *text =
        json_is_string(value) ? strdup(json_string_value(value)) : px_json_dumps(value, JSON_ENCODE_ANY);
    if (px_mime_of(mime, strlen(mime)) == PX_MIME_BINARY)
        assert_int_equal(px_base64_decode(&data, text, strlen(text)), 0);
    else
        px_buffer_add_string(&data, text);
    send_field(result, PX_RESULT_DISPLAY_FORM, mime, strlen(mime));
    send_field(result, PX_RESULT_DISPLAY_DATA, px_buffer_string(&data), data.length);
}

static void send_display(pyexec_result *result, const json_t *display)
{
    const char *mime, shown = PX_DISPLAY_SHOWN;
    json_t *value;
    send_field(result, PX_RESULT_DISPLAY, &shown, 1);
    json_object_foreach(json_object_get(display, "data"), mime, value)
        send_form(result, mime, value);
    send_field(result, PX_RESULT_DISPLAY_END, "", 0);
}

/* Makes a result that has this JSON. */
static pyexec_result *result_of(const json_t *json)
{
    pyexec_result *result = px_result_new();
    const char times[16] = {0}, *status = json_string_value(json_object_get(json, "status"));
    const char *repr = json_string_value(json_object_get(json, "error_repr"));
    const char *hint = json_string_value(json_object_get(json_object_get(json, "error"), "hint"));
    const json_t *display;
    size_t i;
    assert_non_null(result);
    while (strcmp(pyexec_status_name(result->status), status) != 0)
        result->status++;
    px_buffer_add_string(&result->streams[0].text, json_string_value(json_object_get(json, "stdout")));
    result->error_repr = repr ? strdup(repr) : NULL;
    result->error_hint = hint ? strdup(hint) : NULL;
    send_field(result, PX_RESULT_LOCKED, times, sizeof times);
    json_array_foreach(json_object_get(json, "display"), i, display)
        send_display(result, display);
    return result;
}

static json_t *content_of(const char *text)
{
    px_auto_json json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    pyexec_result *result = result_of(json);
    json_t *content = px_mcp_content(result);
    assert_non_null(content);
    pyexec_result_free(result);
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

/* A child can claim any JSON. */
static void displays_of_other_types_are_left_out(void **state)
{
    (void)state;
    assert_same("{\"status\":\"ok\"," REST
                ",\"display\":[1,null,{\"data\":[]},{\"data\":{\"application/json\":5,\"application/x+json\":{}}}]}",
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
    assert_non_null(block); /* jansson accepts only UTF-8 */
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
