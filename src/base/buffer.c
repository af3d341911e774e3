/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void px_buffer_done(struct px_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct px_buffer){0};
}

char *px_buffer_reserve(struct px_buffer *buffer, size_t extra)
{
    if (buffer->failed || extra >= SIZE_MAX / 2 - buffer->length) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->length + extra + 1;
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 64;
        while (capacity < needed)
            capacity *= 2;
        char *data = realloc(buffer->data, capacity);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        data[buffer->length] = '\0';
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->length;
}

void px_buffer_add(struct px_buffer *buffer, const void *bytes, size_t length)
{
    if (length && !bytes)
        buffer->failed = true;
    char *end = px_buffer_reserve(buffer, length);
    if (!end)
        return;
    if (length)
        memcpy(end, bytes, length);
    end[length] = '\0';
    buffer->length += length;
}

void px_buffer_add_string(struct px_buffer *buffer, const char *string)
{
    if (string)
        px_buffer_add(buffer, string, strlen(string));
    else
        buffer->failed = true;
}

void px_buffer_add_byte(struct px_buffer *buffer, char byte)
{
    px_buffer_add(buffer, &byte, 1);
}

void px_buffer_printf(struct px_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    /* Most texts fit into the memory that is there. The others are formatted a second time. */
    size_t room = buffer->data && !buffer->failed ? buffer->capacity - buffer->length : 0;
    int length = vsnprintf(room ? buffer->data + buffer->length : NULL, room, format, args);
    va_end(args);
    bool fits = length >= 0 && (size_t)length < room;
    char *end = length < 0 ? NULL : fits ? buffer->data + buffer->length : px_buffer_reserve(buffer, (size_t)length);
    if (end && !fits)
        vsnprintf(end, (size_t)length + 1, format, again);
    if (end)
        buffer->length += (size_t)length;
    else
        buffer->failed = true;
    if (!end && room)
        buffer->data[buffer->length] = '\0';
    va_end(again);
}

void px_buffer_add_integer(struct px_buffer *buffer, int64_t number)
{
    char digits[20];
    size_t begin = sizeof digits;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        digits[--begin] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        digits[--begin] = '-';
    px_buffer_add(buffer, digits + begin, sizeof digits - begin);
}

void px_buffer_consume(struct px_buffer *buffer, size_t count)
{
    if (count > buffer->length)
        count = buffer->length;
    if (!count)
        return;
    memmove(buffer->data, buffer->data + count, buffer->length - count + 1);
    buffer->length -= count;
}

const char *px_buffer_string(const struct px_buffer *buffer)
{
    return buffer->failed ? NULL : px_buffer_shown(buffer);
}

const char *px_buffer_shown(const struct px_buffer *buffer)
{
    return buffer->data && !buffer->failed ? buffer->data : "";
}

char *px_buffer_take(struct px_buffer *buffer)
{
    char *data = NULL;
    if (!buffer->failed)
        data = buffer->data ? buffer->data : strdup("");
    else
        free(buffer->data);
    *buffer = (struct px_buffer){0};
    return data;
}

void px_buffer_add_pair(struct px_buffer *buffer, const char *name, const char *value, size_t value_length)
{
    px_buffer_add(buffer, name, strlen(name) + 1);
    px_buffer_add(buffer, value, value_length);
    px_buffer_add_byte(buffer, '\0');
}

const char *px_buffer_pair(const struct px_buffer *buffer, const char *name)
{
    const char *at = px_buffer_shown(buffer), *end = at + px_buffer_length(buffer);
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}
