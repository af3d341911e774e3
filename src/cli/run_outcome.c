/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_outcome.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/error.h"
#include "base/json_find.h"
#include "base/mime.h"

void run_outcome_done(struct run_outcome *outcome)
{
    for (size_t i = 0; i < outcome->display_count; i++)
        free(outcome->displays[i].forms);
    for (size_t i = 0; i < outcome->part_count; i++)
        px_buffer_done(&outcome->parts[i]);
    px_buffer_done(&outcome->value_text);
    free(outcome->files);
    free(outcome->displays);
    free(outcome->parts);
    json_decref(outcome->object);
    *outcome = (struct run_outcome){0};
}

static int reserve(struct run_outcome *outcome, size_t files, size_t displays, pyexec_error *error)
{
    outcome->files = calloc(files + 1, sizeof *outcome->files);
    outcome->displays = calloc(displays + 1, sizeof *outcome->displays);
    return outcome->files && outcome->displays ? 0 : px_error_oom(error);
}

/* ---- From a result of this process ---- */

static int take_displays(struct run_outcome *ret, const pyexec_result *result, pyexec_error *error)
{
    for (size_t i = 0; i < pyexec_result_display_count(result); i++) {
        const pyexec_display *display = pyexec_result_display(result, i);
        struct run_shown *shown = &ret->displays[ret->display_count++];
        size_t count = pyexec_display_form_count(display);
        shown->forms = calloc(count + 1, sizeof *shown->forms);
        if (!shown->forms)
            return px_error_oom(error);
        for (; shown->count < count; shown->count++) {
            struct run_display_form *form = &shown->forms[shown->count];
            form->type = pyexec_display_form_type(display, shown->count);
            form->data = pyexec_display_form_data(display, shown->count, &form->length);
        }
    }
    return 0;
}

int run_outcome_of_result(struct run_outcome *ret, const pyexec_result *result, pyexec_error *error)
{
    size_t files = pyexec_result_file_count(result);
    *ret = (struct run_outcome){
        .status = pyexec_result_status(result),
        .exit_code = pyexec_result_exit_code(result),
        .truncated = {pyexec_result_stdout_truncated(result), pyexec_result_stderr_truncated(result)},
        .stream_bytes = {pyexec_result_stdout_bytes(result), pyexec_result_stderr_bytes(result)},
        .value_truncated = pyexec_result_last_value_truncated(result),
        .files_truncated = pyexec_result_files_truncated(result),
        .value = pyexec_result_last_value(result),
        .value_json = pyexec_result_last_value_json(result),
        .value_json_error = pyexec_result_last_value_json_error(result),
        .message = pyexec_result_error_message(result),
        .hint = pyexec_result_error_hint(result),
        .traceback = pyexec_result_error_traceback(result),
    };
    if (reserve(ret, files, pyexec_result_display_count(result), error) < 0)
        return -1;
    for (; ret->file_count < files; ret->file_count++) {
        const pyexec_file *file = pyexec_result_file(result, ret->file_count);
        struct run_file *own = &ret->files[ret->file_count];
        own->path = pyexec_file_path(file);
        own->change = pyexec_file_change(file);
        own->content = pyexec_file_content(file, &own->length);
    }
    return take_displays(ret, result, error);
}

/* ---- From a server's JSON ---- */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static pyexec_status status_of(const char *name)
{
    for (int status = 0; name && status <= PYEXEC_STATUS_CANCELLED; status++)
        if (strcmp(pyexec_status_name((pyexec_status)status), name) == 0)
            return (pyexec_status)status;
    return PYEXEC_STATUS_CRASHED;
}

/* Decodes base64 into memory of the outcome. NULL: it is not base64, or there is no memory. */
static const char *decode(struct run_outcome *outcome, const json_t *text, size_t *ret_length)
{
    struct px_buffer *part = &outcome->parts[outcome->part_count++];
    if (px_base64_decode(part, json_string_value(text), json_string_length(text)) < 0 || !px_buffer_ok(part))
        return NULL;
    *ret_length = part->length;
    return px_buffer_string(part);
}

static int take_file(struct run_outcome *ret, const json_t *row, pyexec_error *error)
{
    struct run_file *file = &ret->files[ret->file_count];
    const json_t *content = json_object_get(row, "content_base64");
    file->path = text_of(row, "path");
    file->change = text_of(row, "change");
    if (!file->path || !file->change || strlen(file->path) != json_string_length(json_object_get(row, "path")))
        return 0; /* a name ends at NUL */
    ret->file_count++;
    if (json_is_string(content) && !(file->content = decode(ret, content, &file->length)))
        return px_error_oom(error);
    return 0;
}

/* Text is as it is, JSON keeps the form that the server sent, and the rest is base64. */
static int take_form(struct run_outcome *ret, struct run_display_form *form, const char *type, const json_t *value,
                     struct px_json_span raw, pyexec_error *error)
{
    form->type = type;
    if (!json_is_string(value) || px_mime_of(type, strlen(type)) == PX_MIME_JSON) {
        form->data = raw.at ? raw.at : "null";
        form->length = raw.at ? raw.length : strlen("null");
    } else if (px_mime_of(type, strlen(type)) == PX_MIME_BINARY) {
        form->data = decode(ret, value, &form->length);
    } else {
        form->data = json_string_value(value);
        form->length = json_string_length(value);
    }
    return form->data ? 0 : px_error_oom(error);
}

static int take_display(struct run_outcome *ret, const json_t *row, struct px_json_span raw, pyexec_error *error)
{
    json_t *data = json_object_get(row, "data"), *value;
    struct run_shown *shown = &ret->displays[ret->display_count++];
    const char *type;
    shown->forms = calloc(json_object_size(data) + 1, sizeof *shown->forms);
    if (!shown->forms)
        return px_error_oom(error);
    json_object_foreach(data, type, value)
        if (take_form(ret, &shown->forms[shown->count++], type, value, px_json_find(px_json_find(raw, "data"), type),
                      error) < 0)
            return -1;
    return 0;
}

/* How many parts may have to be decoded. */
static size_t count_parts(const json_t *files, const json_t *displays)
{
    size_t count = json_array_size(files), index;
    json_t *row;
    json_array_foreach((json_t *)(uintptr_t)displays, index, row)
        count += json_object_size(json_object_get(row, "data"));
    return count;
}

static int take_lists(struct run_outcome *ret, const json_t *files, const json_t *displays, struct px_json_span raw,
                      pyexec_error *error)
{
    size_t index;
    json_t *row;
    ret->parts = calloc(count_parts(files, displays) + 1, sizeof *ret->parts);
    if (!ret->parts || reserve(ret, json_array_size(files), json_array_size(displays), error) < 0)
        return px_error_oom(error);
    json_array_foreach((json_t *)(uintptr_t)files, index, row)
        if (take_file(ret, row, error) < 0)
            return -1;
    json_array_foreach((json_t *)(uintptr_t)displays, index, row)
        if (take_display(ret, row, px_json_item(raw, index), error) < 0)
            return -1;
    return 0;
}

int run_outcome_of_json(struct run_outcome *ret, const char *text, size_t length, pyexec_error *error)
{
    json_error_t problem;
    json_t *object = px_json_read(text, length, JSON_ALLOW_NUL, &problem);
    if (!json_is_object(object)) {
        json_decref(object);
        px_error_set(error, PYEXEC_INTERNAL, "the server sent a result that is not JSON");
        return px_error_hint(error, "Is it a pyexec server? Its log may say more.");
    }
    const json_t *exit_code = json_object_get(object, "exit_code");
    if (!json_is_integer(exit_code) || json_integer_value(exit_code) < 0 || json_integer_value(exit_code) > UINT8_MAX) {
        json_decref(object);
        px_error_set(error, PYEXEC_INTERNAL, "the server sent a result without an exit code from 0 to 255");
        return px_error_hint(error, "Is it a pyexec server? Its log may say more.");
    }
    const struct px_json_span whole = {text, length}, value = px_json_find(whole, "last_value_json");
    const json_t *failure = json_object_get(object, "error");
    *ret = (struct run_outcome){
        .object = object,
        .json = text,
        .status = status_of(text_of(object, "status")),
        .exit_code = (int)json_integer_value(exit_code),
        .truncated = {json_is_true(json_object_get(object, "stdout_truncated")),
                      json_is_true(json_object_get(object, "stderr_truncated"))},
        .stream_bytes = {(uint64_t)json_integer_value(json_object_get(object, "stdout_bytes")),
                         (uint64_t)json_integer_value(json_object_get(object, "stderr_bytes"))},
        .value_truncated = json_is_true(json_object_get(object, "last_value_truncated")),
        .files_truncated = json_is_true(json_object_get(object, "files_truncated")),
        .value = text_of(object, "last_value_repr"),
        .value_json_error = text_of(object, "last_value_json_error"),
        .message = text_of(failure, "message"),
        .hint = text_of(failure, "hint"),
        .traceback = text_of(failure, "traceback"),
    };
    if (value.at && !json_is_null(json_object_get(object, "last_value_json"))) {
        px_buffer_add(&ret->value_text, value.at, value.length);
        ret->value_json = px_buffer_string(&ret->value_text);
    }
    return take_lists(ret, json_object_get(object, "files"), json_object_get(object, "display"),
                      px_json_find(whole, "display"), error);
}
