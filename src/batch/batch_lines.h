/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a file, one after the other. Of a long line only the beginning is kept, so the memory is bounded. */
#ifndef PX_BATCH_BATCH_LINES_H
#define PX_BATCH_BATCH_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"

struct batch_lines {
    int fd;
    size_t keep;    /* bytes of a line that are kept */
    off_t offset;   /* of the next line */
    uint64_t count; /* lines so far */
    struct px_buffer block, line;
    size_t at; /* the first byte of `block` that belongs to the next line */
};

struct batch_line {
    const char *text; /* without its end; it lives until the next call */
    size_t length;
    uint64_t number; /* 1 is the first */
    bool whole;      /* all of it was kept */
    bool complete;   /* it ends with a newline */
    off_t offset;    /* of its first byte */
};

/* Begins at the current position of the descriptor, which the caller closes. */
void batch_lines_init(struct batch_lines *lines, int fd, size_t keep);
void batch_lines_done(struct batch_lines *lines);
/* Returns 1 with the next line, 0 at the end, or -1 with errno. */
int batch_lines_next(struct batch_lines *lines, struct batch_line *ret);

#endif
