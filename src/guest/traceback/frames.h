/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out which code is running: the Python frames of this thread, from the innermost one outwards. All
 * functions need the GIL; a pending exception stays set. */
#ifndef PX_GUEST_TRACEBACK_FRAMES_H
#define PX_GUEST_TRACEBACK_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/python.h"

enum px_owner {
    PX_OWNER_NONE, /* no frame */
    PX_OWNER_SCRIPT,
    PX_OWNER_STDLIB, /* also frozen modules */
    PX_OWNER_SITE,   /* other library code */
};

/* One frame. The strings live as long as its code object. */
struct px_frame {
    PyObject *object; /* borrowed reference, valid during the visit */
    const char *filename, *function;
    enum px_owner owner; /* PX_OWNER_NONE: generated code ("<string>"), which acts for its caller */
};

/* Called in the zygote: tells whose folders these are; see px_guard_install. */
void px_frames_prepare(const char *const *trees, size_t stdlib_count);

/* Called in the child: code in files below the workspace is the script's. The pointer must stay valid. */
void px_frames_arm(const char *workspace);

enum px_owner px_frames_owner(const char *filename);

/* From now on code with this file name acts for its caller, as generated code does. */
void px_frames_disown(const char *filename);

/* True if the bytes contain a file name of the interpreter's code. */
bool px_frames_named_in(const char *bytes, size_t length);

/* True if an absolute path lies in one of the folders of px_frames_prepare(). */
bool px_frames_in_trees(const char *path);

/* Calls `visit` for each frame until it returns false. */
void px_frames_walk(bool (*visit)(const struct px_frame *frame, void *data), void *data);

/* Returns the owner of the running code: that of the innermost frame that has one. */
enum px_owner px_frames_caller(void);

#endif
