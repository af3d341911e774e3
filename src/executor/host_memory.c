/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/host_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fds.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* Returns the number of kB after a name, in bytes; UINT64_MAX when the name is not there. */
static uint64_t kilobytes_after(const char *text, const char *name)
{
    uint64_t kilobytes = px_number_after(text, name, UINT64_MAX);
    return kilobytes == UINT64_MAX ? UINT64_MAX : kilobytes * 1024;
}

static uint64_t read_number(const char *folder, const char *file)
{
    char path[640], text[64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (px_read_small_file(AT_FDCWD, path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX; /* the file says "max" when there is no limit */
    return strtoull(text, NULL, 10);
}

/* Memory of cached files that were not used for some time. The kernel frees it before the limit is reached, so it
 * counts as available. */
static uint64_t read_reclaimable(const char *folder)
{
    char path[640], text[4096];
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    return px_read_small_file(AT_FDCWD, path, text, sizeof text) < 0 ? 0 : px_number_after(text, "inactive_file ", 0);
}

static void apply_cgroup(const char *folder, struct px_host_memory *memory)
{
    uint64_t most = read_number(folder, "memory.max"), used = read_number(folder, "memory.current");
    if (most == UINT64_MAX || used == UINT64_MAX)
        return;
    uint64_t reclaimable = read_reclaimable(folder);
    used -= reclaimable < used ? reclaimable : used;
    uint64_t available = used < most ? most - used : 0;
    if (most < memory->total_bytes)
        memory->total_bytes = most;
    if (available < memory->available_bytes)
        memory->available_bytes = available;
}

/* Applies the limits of this process's cgroup and of all cgroups above it that its cgroup namespace shows. */
static void apply_cgroups(struct px_host_memory *memory)
{
    char text[1024], folder[512];
    if (px_read_small_file(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0)
        return;
    const char *own = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!own)
        return;
    own = strchr(own, '/');
    int length = own ? snprintf(folder, sizeof folder, CGROUP_ROOT "%.*s", (int)strcspn(own, "\n"), own) : -1;
    if (length < 0 || (size_t)length >= sizeof folder || strstr(folder, "/.."))
        return;
    while (strlen(folder) >= strlen(CGROUP_ROOT)) {
        apply_cgroup(folder, memory);
        *strrchr(folder, '/') = '\0';
    }
}

void px_host_memory_read(struct px_host_memory *ret)
{
    char text[512];
    *ret = (struct px_host_memory){UINT64_MAX, UINT64_MAX};
    if (px_read_small_file(AT_FDCWD, "/proc/meminfo", text, sizeof text) > 0) {
        ret->total_bytes = kilobytes_after(text, "MemTotal:");
        ret->available_bytes = kilobytes_after(text, "MemAvailable:");
    }
    apply_cgroups(ret);
}
