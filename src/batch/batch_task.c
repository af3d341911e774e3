/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_task.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

#define OWN_ID_DIGITS 12 /* of the hash, in the id of a task that has none */

void batch_task_done(struct batch_task *task)
{
    json_decref(task->id);
    json_decref(task->body);
    task->id = task->body = NULL;
}

bool batch_task_id_hash(const json_t *id, struct batch_hash *ret)
{
    char number[24];
    if (json_is_integer(id)) {
        int length = snprintf(number, sizeof number, "%lld", (long long)json_integer_value(id));
        *ret = batch_hash_of(number, (size_t)length);
        return true;
    }
    size_t length = json_string_length(id);
    if (!json_is_string(id) || !length || length > BATCH_ID_MAX)
        return false;
    *ret = batch_hash_of(json_string_value(id), length);
    return true;
}

/* Without an id the task is named by its line and what is in it: so a line that moves or changes is another task. */
static json_t *own_id(const struct batch_line *line)
{
    char hex[BATCH_HASH_HEX + 1];
    struct batch_hash hash = batch_hash_of(line->text, line->length);
    batch_hash_format(&hash, hex);
    return json_sprintf("%llu-%.*s", (unsigned long long)line->number, OWN_ID_DIGITS, hex);
}

static int refuse(struct batch_task *task, const char *message, const char *hint)
{
    json_decref(task->body);
    task->body = NULL;
    px_error_set(&task->error, PYEXEC_INVALID_REQUEST, "line %llu: %s", (unsigned long long)task->line, message);
    px_error_hint(&task->error, "%s", hint);
    return 1;
}

static int read_body(struct batch_task *task, const struct batch_line *line, const char *text, size_t length)
{
    json_error_t problem;
    char message[300];
    if (!line->whole)
        return refuse(task, "it is longer than 32 MiB",
                      "Give large data in parts, or as a file that the script reads.");
    task->body = px_json_read(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!task->body && px_json_no_memory(&problem))
        return -1;
    if (!task->body) {
        snprintf(message, sizeof message, "it is not valid JSON: %s (column %d)", problem.text, problem.column);
        return refuse(task, message, "Write one JSON object on each line: {\"id\": \"a\", \"code\": \"6 * 7\"}.");
    }
    if (!json_is_object(task->body))
        return refuse(task, "it is not a JSON object", "Write for example {\"id\": \"a\", \"code\": \"6 * 7\"}.");
    json_t *id = json_object_get(task->body, "id");
    if (!id)
        return 1;
    if (!batch_task_id_hash(id, &task->hash))
        return refuse(task, "its id can't be one", "An id is an integer, or a string of 1 to 1024 bytes.");
    task->id = json_incref(id);
    json_object_del(task->body, "id");
    return 1;
}

int batch_task_read(struct batch_task *ret, const struct batch_line *line)
{
    static const char mark[] = "\xef\xbb\xbf"; /* a byte order mark, which some editors write at the start of a file */
    const char *text = line->text;
    size_t length = line->length, marked = sizeof mark - 1;
    *ret = (struct batch_task){.line = line->number};
    if (line->number == 1 && length >= marked && memcmp(text, mark, marked) == 0) {
        text += marked;
        length -= marked;
    }
    if (strspn(text, " \t\r") == length)
        return 0;
    int status = read_body(ret, line, text, length);
    if (status > 0 && !ret->id) {
        ret->id = own_id(line);
        if (!ret->id || !batch_task_id_hash(ret->id, &ret->hash))
            return -1;
    }
    return status;
}
