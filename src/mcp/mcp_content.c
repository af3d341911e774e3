/* SPDX-License-Identifier: Apache-2.0 */
/* A result as content: what a person or a model reads of it, and its images. The structured content beside it
 * has everything. */
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"
#include "mcp/mcp_private.h"

/* The limit for one stream, value or file: more would push other text out of the model's context. The end is as
 * important as the beginning, because errors are there. */
#define HEAD_BYTES 12000u
#define TAIL_BYTES 8000u
#define FILES_NAMED 50u

/* Adds the text, without its middle if it is long. */
static void add_text(struct px_buffer *out, const char *text, size_t length)
{
    if (length <= HEAD_BYTES + TAIL_BYTES) {
        px_buffer_add(out, text, length);
        return;
    }
    size_t head = px_utf8_truncate(text, length, HEAD_BYTES);
    size_t tail = length - TAIL_BYTES;
    while (tail < length && ((unsigned char)text[tail] & 0xC0) == 0x80)
        tail++;
    px_buffer_add(out, text, head);
    px_buffer_printf(out, "\n[... %zu bytes left out ...]\n", tail - head);
    px_buffer_add(out, text + tail, length - tail);
}

json_t *px_mcp_text(const char *text, size_t length)
{
    px_auto_buffer struct px_buffer shown = {0};
    add_text(&shown, text, length);
    json_t *string = px_buffer_ok(&shown) ? json_stringn(px_buffer_string(&shown), shown.length) : NULL;
    return json_pack("{s:s, s:o}", "type", "text", "text", string);
}

json_t *px_mcp_image(const char *mime_type, const char *base64)
{
    return json_pack("{s:s, s:s, s:s}", "type", "image", "data", base64, "mimeType", mime_type);
}

/* ---- The parts ---- */

static void end_line(struct px_buffer *out)
{
    if (out->length && out->data[out->length - 1] != '\n')
        px_buffer_add_byte(out, '\n');
}

static void add_stream(struct px_buffer *out, const json_t *result, const char *name, const char *title)
{
    const json_t *text = json_object_get(result, name);
    px_auto_buffer struct px_buffer truncated = {0}, bytes = {0};
    px_buffer_printf(&truncated, "%s_truncated", name);
    px_buffer_printf(&bytes, "%s_bytes", name);
    if (!json_string_length(text))
        return;
    end_line(out);
    px_buffer_add_string(out, title);
    add_text(out, json_string_value(text), json_string_length(text));
    if (!json_is_true(json_object_get(result, px_buffer_shown(&truncated))))
        return;
    end_line(out);
    px_buffer_printf(out, "[%s is cut: the script wrote %lld bytes]\n", name,
                     (long long)json_integer_value(json_object_get(result, px_buffer_shown(&bytes))));
}

static void add_value(struct px_buffer *out, const json_t *result)
{
    const json_t *value = json_object_get(result, "last_value_repr");
    if (!json_is_string(value))
        return;
    end_line(out);
    if (out->length)
        px_buffer_add_string(out, "value: ");
    add_text(out, json_string_value(value), json_string_length(value));
    if (json_is_true(json_object_get(result, "last_value_truncated")))
        px_buffer_add_string(out, " [cut]");
}

/* True if stderr has the traceback of the error. The traceback of a syntax error does not contain error_repr. */
static bool stderr_has_traceback(const json_t *result)
{
    const char *output = json_string_value(json_object_get(result, "stderr"));
    const char *traceback = json_string_value(json_object_get(json_object_get(result, "error"), "traceback"));
    return output && traceback && *traceback && strstr(output, traceback);
}

/* Adds what the traceback on stderr does not say. */
static void add_error(struct px_buffer *out, const json_t *result)
{
    const char *status = json_string_value(json_object_get(result, "status"));
    const char *error = json_string_value(json_object_get(result, "error_repr"));
    const char *hint = json_string_value(json_object_get(json_object_get(result, "error"), "hint"));
    if (!status || strcmp(status, "ok") == 0)
        return;
    end_line(out);
    if (error && !stderr_has_traceback(result) && !strstr(px_buffer_shown(out), error)) {
        add_text(out, error, strlen(error));
        end_line(out);
    }
    if (hint && !strstr(px_buffer_shown(out), hint))
        px_buffer_printf(out, "hint: %s\n", hint);
    if (strcmp(status, "error") != 0)
        px_buffer_printf(out, "status: %s\n", status);
}

static void add_files(struct px_buffer *out, const json_t *result)
{
    const json_t *files = json_object_get(result, "files");
    size_t count = json_array_size(files);
    px_auto_buffer struct px_buffer names = {0};
    for (size_t i = 0; i < count && i < FILES_NAMED; i++) {
        const json_t *file = json_array_get(files, i);
        px_buffer_printf(&names, "%s%s (%s, %lld bytes)",
                         i ? ", " : "files: ", json_string_value(json_object_get(file, "path")),
                         json_string_value(json_object_get(file, "change")),
                         (long long)json_integer_value(json_object_get(file, "bytes")));
    }
    if (count > FILES_NAMED)
        px_buffer_printf(&names, " and %zu more", count - FILES_NAMED);
    if (!count)
        return;
    end_line(out);
    add_text(out, px_buffer_shown(&names), names.length); /* a path may have 4 KiB */
}

static void add_restart(struct px_buffer *out, const json_t *result)
{
    const char *why = json_string_value(json_object_get(json_object_get(result, "session"), "restarted"));
    if (!why)
        return;
    end_line(out);
    px_buffer_printf(out, "note: what the session had before is gone (%s).", why);
}

/* Takes the first image of a display's forms, else its plain text. For the last value the plain text is its
 * repr, which is shown already. */
static int add_display(json_t *content, const json_t *display)
{
    static const char *const images[] = {"image/png", "image/jpeg", "image/gif", "image/webp"};
    const json_t *data = json_object_get(display, "data");
    for (size_t i = 0; i < PX_COUNT(images); i++) {
        const char *base64 = json_string_value(json_object_get(data, images[i]));
        if (base64)
            return json_array_append_new(content, px_mcp_image(images[i], base64));
    }
    const json_t *plain = json_object_get(data, "text/plain");
    if (!json_is_string(plain) || json_is_true(json_object_get(display, "last_value")))
        return 0;
    return json_array_append_new(content, px_mcp_text(json_string_value(plain), json_string_length(plain)));
}

json_t *px_mcp_content(const json_t *result)
{
    px_auto_buffer struct px_buffer text = {0};
    json_t *content = json_array(), *display, *block;
    size_t i;
    add_stream(&text, result, "stdout", "");
    add_stream(&text, result, "stderr", "stderr:\n");
    add_error(&text, result);
    add_value(&text, result);
    add_files(&text, result);
    add_restart(&text, result);
    if (!text.length)
        px_buffer_add_string(&text, "(no output)");
    /* The length of its parts is limited already. */
    block = json_pack("{s:s, s:s%}", "type", "text", "text", px_buffer_string(&text), text.length);
    int status = px_buffer_ok(&text) ? json_array_append_new(content, block) : -1;
    json_array_foreach(json_object_get(result, "display"), i, display)
        status |= add_display(content, display);
    if (status == 0)
        return content;
    json_decref(content);
    return NULL;
}
