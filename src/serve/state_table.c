/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/state_table.h"

#include <string.h>

#include "base/cleanup.h"

#define FIRST_LINE "pyexec sessions 1"
#define KEY_MAX 193u /* PRINCIPAL/ID: at most 64 and 128 characters */
#define WHY_MAX 32u

int px_state_table_init(struct px_state_table *table)
{
    *table = (struct px_state_table){json_object(), json_object()};
    if (table->live && table->ended)
        return 0;
    px_state_table_done(table);
    return -1;
}

void px_state_table_done(struct px_state_table *table)
{
    json_decref(table->live);
    json_decref(table->ended);
    *table = (struct px_state_table){0};
}

/* Puts the key last in the object, and removes the oldest when there are too many. */
static int put(json_t *object, const char *key, json_t *value, size_t most)
{
    json_object_del(object, key);
    int status = json_object_set_new(object, key, value);
    while (json_object_size(object) > most) {
        void *oldest = json_object_iter(object);
        json_object_del(object, json_object_iter_key(oldest));
    }
    return status;
}

int px_state_table_note(struct px_state_table *table, const char *key, const char *why)
{
    json_object_del(why ? table->live : table->ended, key);
    if (!why)
        return put(table->live, key, json_null(), PX_STATE_LIVE_MAX);
    if (*why)
        return put(table->ended, key, json_string(why), PX_STATE_ENDED_MAX);
    json_object_del(table->ended, key);
    return 0;
}

/* ---- Writing ---- */

void px_state_table_add_line(struct px_buffer *out, const char *key, const char *why)
{
    if (why)
        px_buffer_printf(out, "- %s %s\n", key, *why ? why : "never");
    else
        px_buffer_printf(out, "+ %s\n", key);
}

void px_state_table_write(const struct px_state_table *table, struct px_buffer *out)
{
    const char *key;
    json_t *value;
    px_buffer_add_string(out, FIRST_LINE "\n");
    json_object_foreach(table->ended, key, value)
        px_state_table_add_line(out, key, json_string_value(value));
    json_object_foreach(table->live, key, value)
        px_state_table_add_line(out, key, NULL);
}

/* ---- Reading ---- */

/* Copies the text up to `end` if it has 1 to `most` printable characters and no space. */
static bool take_word(const char *text, const char *end, size_t most, char *ret)
{
    size_t length = (size_t)(end - text);
    if (!length || length > most)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    memcpy(ret, text, length);
    ret[length] = '\0';
    return true;
}

/* Returns 0, 1 when the line does not have the right form, or -1 when there is no memory. */
static int read_line(struct px_state_table *table, const char *line, const char *end)
{
    char key[KEY_MAX + 1], why[WHY_MAX + 1];
    if (end - line < 3 || (*line != '+' && *line != '-') || line[1] != ' ')
        return 1;
    bool ended = *line == '-';
    const char *blank = ended ? memchr(line + 2, ' ', (size_t)(end - line) - 2) : end;
    if (!blank || !take_word(line + 2, blank, KEY_MAX, key) || !strchr(key, '/') ||
        (ended && !take_word(blank + 1, end, WHY_MAX, why)))
        return 1;
    if (ended && strcmp(why, "never") == 0)
        *why = '\0';
    return px_state_table_note(table, key, ended ? why : NULL);
}

int px_state_table_read(struct px_state_table *table, const char *bytes, size_t length, size_t *ret_bad)
{
    static const char first[] = FIRST_LINE "\n";
    const char *end = bytes + length, *line = bytes + strlen(first);
    *ret_bad = 0;
    if (length < strlen(first) || memcmp(bytes, first, strlen(first)) != 0)
        return -1;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        /* A line without its end was being written when the server was killed. */
        int status = newline ? read_line(table, line, newline) : 1;
        if (status < 0)
            return -1;
        *ret_bad += (size_t)status;
        line = newline ? newline + 1 : end;
    }
    return 0;
}
