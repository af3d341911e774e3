/* SPDX-License-Identifier: Apache-2.0 */
/* Who is calling: the Python frames of this thread, from the innermost outwards. All need the
 * GIL and leave a pending exception as it was. */
#ifndef PX_GUEST_TRACEBACK_FRAMES_H
#define PX_GUEST_TRACEBACK_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/python.h"

enum px_owner {
    PX_OWNER_NONE, /* no frame */
    PX_OWNER_SCRIPT,
    PX_OWNER_STDLIB, /* frozen modules too */
    PX_OWNER_SITE,   /* other library code */
};

/* One frame. The strings live as long as its code object. */
struct px_frame {
    PyObject *object; /* owned by the walk */
    const char *filename, *function;
    enum px_owner owner; /* NONE: generated code ("<string>"), which is its caller's */
};

/* Zygote: which folders are whose; see px_guard_install. */
void px_frames_prepare(const char *const *trees, size_t stdlib_count);

/* Child: code in files below the workspace is the script's. Keeps the pointer. */
void px_frames_arm(const char *workspace);

enum px_owner px_frames_owner(const char *filename);

/* From now on code with this file name is its caller's, as generated code is. */
void px_frames_disown(const char *filename);

/* Whether the bytes have a file name of the interpreter's code in them. */
bool px_frames_named_in(const char *bytes, size_t length);

/* Whether an absolute path lies in one of the trees. */
bool px_frames_in_trees(const char *path);

/* Calls `visit` for each frame until it returns false. */
void px_frames_walk(bool (*visit)(const struct px_frame *frame, void *data), void *data);

/* Whose code is running: the first frame with an owner. */
enum px_owner px_frames_caller(void);

#endif
