/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_lines.h"

#include <errno.h>
#include <string.h>

#include "base/retry.h"

#define BATCH_BLOCK_BYTES 65536

void batch_lines_init(struct batch_lines *lines, int fd, size_t keep)
{
    *lines = (struct batch_lines){.fd = fd, .keep = keep};
}

void batch_lines_done(struct batch_lines *lines)
{
    px_buffer_done(&lines->block);
    px_buffer_done(&lines->line);
}

/* Reads the next block. Returns 1, 0 at the end, or -1 with errno. */
static int fill(struct batch_lines *lines)
{
    lines->at = lines->block.length = 0;
    char *room = px_buffer_reserve(&lines->block, BATCH_BLOCK_BYTES);
    errno = ENOMEM;
    ssize_t n = room ? px_read(lines->fd, room, BATCH_BLOCK_BYTES) : -1;
    if (n > 0)
        lines->block.length = (size_t)n;
    return n > 0 ? 1 : (int)n;
}

int batch_lines_next(struct batch_lines *lines, struct batch_line *ret)
{
    size_t length = 0;
    bool complete = false, any = false;
    *ret = (struct batch_line){.offset = lines->offset};
    lines->line.length = 0;
    while (!complete) {
        int filled = lines->at < lines->block.length ? 1 : fill(lines);
        if (filled < 0)
            return -1;
        if (!filled)
            break;
        any = true;
        const char *from = lines->block.data + lines->at;
        const char *end = memchr(from, '\n', lines->block.length - lines->at);
        size_t part = end ? (size_t)(end - from) : lines->block.length - lines->at;
        size_t room = lines->keep - lines->line.length;
        px_buffer_add(&lines->line, from, part < room ? part : room);
        length += part;
        complete = end;
        lines->at += part + complete;
    }
    if (!px_buffer_ok(&lines->line)) {
        errno = ENOMEM;
        return -1;
    }
    if (!any)
        return 0;
    lines->offset += (off_t)(length + complete);
    ret->text = px_buffer_string(&lines->line);
    ret->length = lines->line.length;
    ret->number = ++lines->count;
    ret->whole = ret->length == length;
    ret->complete = complete;
    return 1;
}
