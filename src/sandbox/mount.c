/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/mount.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"

static int set_string(int context, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

int px_tmpfs_new(uint64_t bytes, uint64_t inodes, const char *mode, uint64_t attributes)
{
    px_auto_fd int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    char size[24], count[24];
    snprintf(size, sizeof size, "%" PRIu64, px_tmpfs_size(bytes, px_page_bytes()));
    snprintf(count, sizeof count, "%" PRIu64, inodes);
    if (context < 0 || set_string(context, "size", size) < 0 || set_string(context, "nr_inodes", count) < 0 ||
        set_string(context, "mode", mode) < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, (unsigned)attributes);
}
