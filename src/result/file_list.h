/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a workspace: the files that a run changed, those of a session, or the entries of one folder. */
#ifndef PX_RESULT_FILE_LIST_H
#define PX_RESULT_FILE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "pyexec.h"

struct pyexec_file {
    char *path; /* valid UTF-8; in a folder only the name */
    uint64_t bytes;
    const char *change;       /* for a run: created, modified or deleted */
    struct px_buffer content; /* for a run, if has_content */
    bool has_content;
    const char *kind; /* for a folder: file, folder, link or other */
    int mode;
    int64_t modified_ns;
};

struct pyexec_file_list {
    struct pyexec_file *items;
    size_t count;
    bool truncated; /* some were left out */
};

/* Adds an item. Its path is the name, with U+FFFD in place of bytes that are not UTF-8. Returns NULL when there is
 * no memory. */
struct pyexec_file *px_file_list_add(struct pyexec_file_list *list, const char *path);
void px_file_list_done(struct pyexec_file_list *list);

#endif
