/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/retry.h"

static void write_head(char *to, uint16_t kind, uint32_t length)
{
    uint16_t head[2] = {kind, 0};
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, &length, sizeof length);
}

void px_wire_add(struct px_buffer *message, uint16_t kind, const void *bytes, size_t length)
{
    char head[PX_FIELD_HEADER];
    write_head(head, kind, (uint32_t)length);
    px_buffer_add(message, head, sizeof head);
    px_buffer_add(message, bytes, length);
}

int px_wire_flush(struct px_wire_writer *writer)
{
    if (!writer->length)
        return 0;
    ssize_t n = px_send(writer->socket, writer->packet, writer->length, MSG_NOSIGNAL);
    writer->length = 0;
    return n < 0 ? -1 : 0;
}

int px_wire_put(struct px_wire_writer *writer, uint16_t kind, const void *bytes, size_t length)
{
    const char *from = bytes;
    do {
        if (sizeof writer->packet - writer->length < PX_FIELD_HEADER + (length ? 1 : 0) && px_wire_flush(writer) < 0)
            return -1;
        size_t room = sizeof writer->packet - writer->length - PX_FIELD_HEADER;
        /* A field that fits into a packet is sent whole. So only the fields that the receiver appends arrive in
         * parts. */
        if (length > room && length <= sizeof writer->packet - PX_FIELD_HEADER) {
            if (px_wire_flush(writer) < 0)
                return -1;
            room = sizeof writer->packet - PX_FIELD_HEADER;
        }
        uint32_t part = (uint32_t)(length < room ? length : room);
        char *to = writer->packet + writer->length;
        write_head(to, kind, part);
        if (part)
            memcpy(to + PX_FIELD_HEADER, from, part);
        writer->length += PX_FIELD_HEADER + part;
        from += part;
        length -= part;
    } while (length);
    return 0;
}

int px_wire_next(const char *packet, size_t size, size_t *offset, struct px_wire_field *ret)
{
    if (*offset == size)
        return 0;
    if (size - *offset < PX_FIELD_HEADER)
        return -1;
    uint16_t head[2];
    memcpy(head, packet + *offset, sizeof head);
    memcpy(&ret->length, packet + *offset + sizeof head, sizeof ret->length);
    if (head[1] != 0 || ret->length > size - *offset - PX_FIELD_HEADER)
        return -1;
    ret->kind = head[0];
    ret->bytes = packet + *offset + PX_FIELD_HEADER;
    *offset += PX_FIELD_HEADER + ret->length;
    return 1;
}

static bool in_range(const struct px_wire_number *row, uint64_t number)
{
    if (row->is_signed)
        return (int64_t)number >= row->minimum && (int64_t)number <= (int64_t)row->maximum;
    return number >= (uint64_t)row->minimum && number <= row->maximum;
}

/* Extends the number to 64 bits. Returns false when it has another size. */
static bool read_number(const struct px_wire_number *row, const struct px_wire_field *field, uint64_t *ret)
{
    uint8_t byte;
    uint32_t word;
    if (field->length != row->wire_size)
        return false;
    switch (row->wire_size) {
    case sizeof byte:
        memcpy(&byte, field->bytes, sizeof byte);
        *ret = byte;
        return true;
    case sizeof word:
        memcpy(&word, field->bytes, sizeof word);
        *ret = row->is_signed ? (uint64_t)(int64_t)(int32_t)word : word;
        return true;
    case sizeof *ret:
        memcpy(ret, field->bytes, sizeof *ret);
        return true;
    default:
        return false;
    }
}

int px_wire_take_number(const struct px_wire_number *row, const struct px_wire_field *field, void *owner)
{
    uint64_t number;
    if (!read_number(row, field, &number) || !in_range(row, number))
        return -1;
    char *to = (char *)owner + row->offset;
    uint8_t byte = (uint8_t)number;
    uint32_t word = (uint32_t)number;
    if (row->member_size == sizeof byte)
        memcpy(to, &byte, sizeof byte);
    else if (row->member_size == sizeof word)
        memcpy(to, &word, sizeof word);
    else
        memcpy(to, &number, sizeof number);
    return 0;
}

int px_wire_take_text(struct px_buffer *to, const struct px_wire_field *field, size_t maximum)
{
    if (to->length > maximum || field->length > maximum - to->length)
        return -1;
    px_buffer_add(to, field->bytes, field->length);
    return px_buffer_ok(to) ? 0 : -1;
}

const char *px_denial_layer_name(enum px_denial_layer layer)
{
    static const char *const names[PX_DENIAL_KINDS] = {
        [PX_DENIAL_IMPORTS] = "imports", [PX_DENIAL_FILES] = "files",         [PX_DENIAL_NETWORK] = "network",
        [PX_DENIAL_SYSCALL] = "syscall", [PX_DENIAL_PROCESSES] = "processes", [PX_DENIAL_TOOLS] = "tools",
    };
    return (unsigned)layer < PX_DENIAL_KINDS ? names[layer] : "unknown";
}
