/* SPDX-License-Identifier: Apache-2.0 */
#include "base/texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void px_texts_add(struct px_texts *texts, const char *text)
{
    size_t count = texts->count;
    if ((count & (count - 1)) == 0) { /* 0 or a power of two: full */
        char **items = reallocarray(texts->items, 2 * count + 2, sizeof *items);
        if (!items) {
            texts->failed = true;
            return;
        }
        texts->items = items;
    }
    if (!text || !(texts->items[count] = strdup(text))) {
        texts->failed = true;
        return;
    }
    texts->items[++texts->count] = NULL;
}

void px_texts_addf(struct px_texts *texts, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0)
        text = NULL;
    va_end(list);
    px_texts_add(texts, text);
    free(text);
}

int px_texts_compare(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

void px_texts_sort(struct px_texts *texts)
{
    if (texts->count)
        qsort(texts->items, texts->count, sizeof *texts->items, px_texts_compare);
}

void px_texts_done(struct px_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct px_texts){0};
}
