/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/source.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void px_source_done(struct px_source *source)
{
    free(source->starts);
    source->starts = NULL;
    source->lines = 0;
}

/* Returns the start of the line after `at`: Python ends lines at \n, \r\n and \r. */
static size_t next_start(const struct px_source *source, size_t at)
{
    while (at < source->length) {
        char c = source->code[at++];
        if (c == '\n')
            break;
        if (c == '\r') {
            if (at < source->length && source->code[at] == '\n')
                at++;
            break;
        }
    }
    return at;
}

static bool make_index(struct px_source *source)
{
    if (source->starts)
        return true;
    if (source->length > UINT32_MAX)
        return false;
    size_t lines = 0;
    for (size_t at = 0; at < source->length; at = next_start(source, at))
        lines++;
    source->starts = calloc(lines + 1, sizeof *source->starts);
    if (!source->starts)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < lines; i++) {
        source->starts[i] = (uint32_t)at;
        at = next_start(source, at);
    }
    source->starts[lines] = (uint32_t)at;
    source->lines = lines;
    return true;
}

const char *px_source_line(struct px_source *sources, const char *filename, long number, size_t *ret_length)
{
    for (struct px_source *source = sources; source; source = source->next) {
        if (strcmp(source->filename, filename) != 0)
            continue;
        if (number < 1 || !make_index(source) || (size_t)number > source->lines)
            return NULL;
        const char *start = source->code + source->starts[number - 1];
        size_t length = source->starts[number] - source->starts[number - 1];
        while (length && (start[length - 1] == '\n' || start[length - 1] == '\r'))
            length--;
        *ret_length = length;
        return start;
    }
    return NULL;
}
