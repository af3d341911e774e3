/* SPDX-License-Identifier: Apache-2.0 */
/* A result as content: the text that a person or a model reads, and images. The structured content beside it is
 * complete. */
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"
#include "mcp/mcp_private.h"

/* The limit for one stream, value or file. More would push other text out of the model's context. The end of a
 * text is kept too, because errors are there. */
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

static void add_stream(struct px_buffer *out, const char *name, const char *title, const char *text, size_t length,
                       bool truncated, uint64_t bytes)
{
    if (!length)
        return;
    end_line(out);
    px_buffer_add_string(out, title);
    add_text(out, text, length);
    if (!truncated)
        return;
    end_line(out);
    px_buffer_printf(out, "[%s is cut: the script wrote %llu bytes]\n", name, (unsigned long long)bytes);
}

static void add_streams(struct px_buffer *out, const pyexec_result *result)
{
    size_t length;
    const char *text = pyexec_result_stdout(result, &length);
    add_stream(out, "stdout", "", text, length, pyexec_result_stdout_truncated(result),
               pyexec_result_stdout_bytes(result));
    text = pyexec_result_stderr(result, &length);
    add_stream(out, "stderr", "stderr:\n", text, length, pyexec_result_stderr_truncated(result),
               pyexec_result_stderr_bytes(result));
}

static void add_value(struct px_buffer *out, const pyexec_result *result)
{
    size_t length;
    const char *value = pyexec_result_last_value_text(result, &length);
    if (!value)
        return;
    end_line(out);
    if (out->length)
        px_buffer_add_string(out, "value: ");
    add_text(out, value, length);
    if (pyexec_result_last_value_truncated(result))
        px_buffer_add_string(out, " [cut]");
}

/* True if stderr has the traceback of the error. The traceback of a syntax error does not contain error_repr. */
static bool stderr_has_traceback(const pyexec_result *result)
{
    const char *traceback = pyexec_result_error_traceback(result);
    return traceback && *traceback && strstr(pyexec_result_stderr(result, NULL), traceback);
}

/* Adds the parts of the error that the traceback on stderr does not contain. */
static void add_error(struct px_buffer *out, const pyexec_result *result)
{
    pyexec_status status = pyexec_result_status(result);
    const char *error = pyexec_result_error_repr(result), *hint = pyexec_result_error_hint(result);
    if (status == PYEXEC_STATUS_OK)
        return;
    end_line(out);
    if (error && !stderr_has_traceback(result) && !strstr(px_buffer_shown(out), error)) {
        add_text(out, error, strlen(error));
        end_line(out);
    }
    if (hint && !strstr(px_buffer_shown(out), hint))
        px_buffer_printf(out, "hint: %s\n", hint);
    if (status != PYEXEC_STATUS_ERROR)
        px_buffer_printf(out, "status: %s\n", pyexec_status_name(status));
}

static void add_files(struct px_buffer *out, const pyexec_result *result)
{
    size_t count = pyexec_result_file_count(result);
    px_auto_buffer struct px_buffer names = {0};
    for (size_t i = 0; i < count && i < FILES_NAMED; i++) {
        const pyexec_file *file = pyexec_result_file(result, i);
        px_buffer_printf(&names, "%s%s (%s, %llu bytes)", i ? ", " : "files: ", pyexec_file_path(file),
                         pyexec_file_change(file), (unsigned long long)pyexec_file_bytes(file));
    }
    if (count > FILES_NAMED)
        px_buffer_printf(&names, " and %zu more", count - FILES_NAMED);
    if (!count)
        return;
    end_line(out);
    add_text(out, px_buffer_shown(&names), px_buffer_length(&names)); /* a path may have 4 KiB */
}

static void add_restart(struct px_buffer *out, const pyexec_result *result)
{
    const char *why = pyexec_result_session_restarted(result);
    if (pyexec_result_session_restored_to(result)) {
        end_line(out);
        px_buffer_add_string(out, "note: the session is as it was before this call, its variables and its files.");
    }
    if (!why)
        return;
    end_line(out);
    px_buffer_printf(out, "note: the earlier state of the session is lost (%s).", why);
}

/* Returns the data of the form with this type, or NULL. */
static const char *form_of(const pyexec_display *display, const char *type, size_t *ret_length)
{
    for (size_t i = 0; i < pyexec_display_form_count(display); i++)
        if (strcmp(pyexec_display_form_type(display, i), type) == 0)
            return pyexec_display_form_data(display, i, ret_length);
    return NULL;
}

/* Adds the first image among the forms of a display, or else its plain text. For the last value the plain text is
 * its repr, which is already in the content. */
static int add_display(json_t *content, const pyexec_display *display)
{
    static const char *const images[] = {"image/png", "image/jpeg", "image/gif", "image/webp"};
    size_t length;
    for (size_t i = 0; i < PX_COUNT(images); i++) {
        const char *bytes = form_of(display, images[i], &length);
        px_auto_buffer struct px_buffer base64 = {0};
        if (!bytes)
            continue;
        px_base64_encode(&base64, bytes, length);
        const char *encoded = px_buffer_string(&base64);
        return json_array_append_new(content, encoded ? px_mcp_image(images[i], encoded) : NULL);
    }
    const char *plain = form_of(display, "text/plain", &length);
    if (!plain || pyexec_display_last_value(display))
        return 0;
    return json_array_append_new(content, px_mcp_text(plain, length));
}

json_t *px_mcp_content(const pyexec_result *result)
{
    px_auto_buffer struct px_buffer text = {0};
    json_t *content = json_array(), *block;
    add_streams(&text, result);
    add_error(&text, result);
    add_value(&text, result);
    add_files(&text, result);
    add_restart(&text, result);
    if (!text.length)
        px_buffer_add_string(&text, "(no output)");
    /* The length of its parts is limited already. */
    block = json_pack("{s:s, s:s%}", "type", "text", "text", px_buffer_string(&text), text.length);
    int status = px_buffer_ok(&text) ? json_array_append_new(content, block) : -1;
    for (size_t i = 0; i < pyexec_result_display_count(result); i++)
        status |= add_display(content, pyexec_result_display(result, i));
    if (status == 0)
        return content;
    json_decref(content);
    return NULL;
}
