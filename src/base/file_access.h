/* SPDX-License-Identifier: Apache-2.0 */
/* The three values of file access. They are in a file of their own, apart from policy.h, because the guest
 * needs them too. */
#ifndef PX_BASE_FILE_ACCESS_H
#define PX_BASE_FILE_ACCESS_H

enum px_files {
    PX_FILES_NONE, /* no writable mount, and no content in the workspace */
    PX_FILES_READ, /* the workspace, read-only */
    PX_FILES_FULL, /* the workspace */
};

#endif
