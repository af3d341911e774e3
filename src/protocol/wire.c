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

const char *px_denial_layer_name(enum px_denial_layer layer)
{
    static const char *const names[PX_DENIAL_KINDS] = {
        [PX_DENIAL_IMPORTS] = "imports", [PX_DENIAL_FILES] = "files",         [PX_DENIAL_NETWORK] = "network",
        [PX_DENIAL_SYSCALL] = "syscall", [PX_DENIAL_PROCESSES] = "processes", [PX_DENIAL_TOOLS] = "tools",
    };
    return (unsigned)layer < PX_DENIAL_KINDS ? names[layer] : "unknown";
}
