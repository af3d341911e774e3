/* SPDX-License-Identifier: Apache-2.0 */
#include "result/file_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct pyexec_file *px_file_list_add(struct pyexec_file_list *list, const char *path)
{
    struct px_buffer shown = {0};
    if ((list->count & (list->count - 1)) == 0) { /* At 0 and at powers of two the list is full. */
        struct pyexec_file *items = realloc(list->items, (list->count ? 2 * list->count : 1) * sizeof *items);
        if (!items)
            return NULL;
        list->items = items;
    }
    px_utf8_repair(&shown, path, strlen(path));
    char *text = px_buffer_take(&shown);
    if (!text)
        return NULL;
    list->items[list->count] = (struct pyexec_file){.path = text};
    return &list->items[list->count++];
}

void px_file_list_done(struct pyexec_file_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].path);
        px_buffer_done(&list->items[i].content);
    }
    free(list->items);
    *list = (struct pyexec_file_list){0};
}

void pyexec_file_list_free(pyexec_file_list *list)
{
    if (!list)
        return;
    px_file_list_done(list);
    free(list);
}

size_t pyexec_file_list_count(const pyexec_file_list *list)
{
    return list->count;
}

const pyexec_file *pyexec_file_list_get(const pyexec_file_list *list, size_t index)
{
    return index < list->count ? &list->items[index] : NULL;
}

bool pyexec_file_list_truncated(const pyexec_file_list *list)
{
    return list->truncated;
}
