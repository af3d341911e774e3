/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wrap.h"

#include <string.h>

#define LINE_WIDTH 80

void px_wrap(struct px_buffer *out, const char *prefix, const char *text)
{
    size_t column = strlen(prefix);
    bool line_start = true;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (!line_start && column + 1 + word > LINE_WIDTH) {
            px_buffer_printf(out, "\n%s", prefix);
            column = strlen(prefix);
            line_start = true;
        }
        if (!line_start) {
            px_buffer_add_byte(out, ' ');
            column++;
        }
        px_buffer_add(out, text, word);
        column += word;
        line_start = false;
        text += word;
        text += strspn(text, " \n");
    }
    px_buffer_add_byte(out, '\n');
}
