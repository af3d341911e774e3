/* SPDX-License-Identifier: Apache-2.0 */
/* Code whose lines a traceback can show: the code of the run, and in a session also of earlier cells. */
#ifndef PX_GUEST_TRACEBACK_SOURCE_H
#define PX_GUEST_TRACEBACK_SOURCE_H

#include <stddef.h>
#include <stdint.h>

/* Set filename, code and length, which stay the caller's, and zero the rest. The index of lines is made when it is
 * first needed. */
struct px_source {
    const char *filename;
    const char *code;
    size_t length;
    struct px_source *next;
    uint32_t *starts; /* offsets of the lines, and of the end of the code */
    size_t lines;
};
void px_source_done(struct px_source *source);

/* Returns line `number`, counted from 1, without its line end. NULL when there is no such line. */
const char *px_source_line(struct px_source *sources, const char *filename, long number, size_t *ret_length);

#endif
