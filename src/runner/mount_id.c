/* SPDX-License-Identifier: Apache-2.0 */
/* statx(2) by a raw system call: musl has a function for it only since 1.2.5, and <linux/stat.h> clashes with its <sys/stat.h>. */
#include "runner/mount_id.h"

#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool px_mount_id(int folder, const char *path, int flags, uint64_t *ret)
{
    struct statx status;
    if (syscall(SYS_statx, folder, path, flags, STATX_MNT_ID, &status) != 0 || !(status.stx_mask & STATX_MNT_ID))
        return false;
    *ret = status.stx_mnt_id;
    return true;
}
