/* SPDX-License-Identifier: Apache-2.0 */
/* Code whose lines a traceback can show: the run's own, in a session also earlier cells'. */
#ifndef PX_GUEST_TRACEBACK_SOURCE_H
#define PX_GUEST_TRACEBACK_SOURCE_H

#include <stddef.h>
#include <stdint.h>

/* Borrows its strings; zero the rest. The index of lines is made when first needed. */
struct px_source {
    const char *filename;
    const char *code;
    size_t length;
    struct px_source *next;
    uint32_t *starts; /* offset of each line, and of the end */
    size_t lines;
};
void px_source_done(struct px_source *source);

/* Line `number` (from 1) of the file without its end; NULL when there is none. */
const char *px_source_line(struct px_source *sources, const char *filename, long number, size_t *ret_length);

#endif
