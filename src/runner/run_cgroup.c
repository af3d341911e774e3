/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/run_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"

#define NAME_SIZE 32
/* Memory that the kernel uses for a run: page tables, thread stacks, sockets, pipes. */
#define KERNEL_BYTES (UINT64_C(32) << 20)

static void put_name(char name[NAME_SIZE], uint64_t number)
{
    snprintf(name, NAME_SIZE, "run-%" PRIu64, number);
}

static int put(int folder, const char *name, uint64_t value)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, value);
    px_auto_fd int fd = px_openat(folder, name, O_WRONLY | O_CLOEXEC, 0);
    return fd >= 0 && px_write(fd, text, (size_t)length) == length ? 0 : -1;
}

/* memory.max covers what rlimits miss (pipes, sockets, page tables) and is high enough never to trigger first. */
static int limit(int folder, const struct px_clone_request *shape)
{
    if (shape->address_space_bytes != UINT64_MAX &&
        put(folder, "memory.max", shape->address_space_bytes + shape->workspace_bytes + KERNEL_BYTES) < 0)
        return -1;
    /* The file does not exist if the kernel does not count swap for cgroups. */
    if (put(folder, "memory.swap.max", 0) < 0 && errno != ENOENT)
        return -1;
    if (put(folder, "memory.oom.group", 1) < 0 || put(folder, "pids.max", shape->threads + 1) < 0)
        return -1;
    return fchmodat(folder, "cgroup.procs", 0666, 0); /* src/launch/cgroup.c says why */
}

int px_run_cgroup_make(int base, uint64_t number, const struct px_clone_request *shape)
{
    char name[NAME_SIZE];
    put_name(name, number);
    if (mkdirat(base, name, 0700) < 0)
        return -1;
    px_auto_fd int folder = px_openat(base, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder >= 0 && limit(folder, shape) == 0)
        return TAKE_FD(folder);
    int saved = errno;
    unlinkat(base, name, AT_REMOVEDIR);
    errno = saved;
    return -1;
}

enum px_oom px_run_cgroup_oom(int base, uint64_t number)
{
    char name[NAME_SIZE], path[NAME_SIZE + 24], text[512];
    put_name(name, number);
    snprintf(path, sizeof path, "%s/memory.events", name);
    if (px_read_small_file(base, path, text, sizeof text) < 0 || !px_number_after(text, "oom_kill ", 0))
        return PX_OOM_NONE;
    return px_number_after(text, "oom ", 0) ? PX_OOM_OWN : PX_OOM_ABOVE;
}

void px_run_cgroup_remove(int base, uint64_t number)
{
    char name[NAME_SIZE];
    put_name(name, number);
    unlinkat(base, name, AT_REMOVEDIR);
}
