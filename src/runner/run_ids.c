/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/run_ids.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FIRST 1900000000u /* systemd.io/UIDS-GIDS: the ids from 1879048192 to 2147352575 are unused */
#define STEP 65536u
#define CANDIDATES 16u
#define NOBODY 65534u /* the kernel's own overflow id: /proc/sys/kernel/overflowuid */

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

/* True if a line of the file names the id. With `ranges` the lines are NAME:START:COUNT, otherwise
 * NAME:PASSWORD:ID. Only files are read, because a directory service may take seconds to answer. */
static bool is_listed(const char *path, bool ranges, uint32_t id)
{
    px_auto(close_file) FILE *file = fopen(path, "re");
    px_auto_free char *line = NULL;
    size_t size = 0;
    while (file && getline(&line, &size, file) >= 0) {
        const char *second = strchr(line, ':');
        const char *third = second ? strchr(second + 1, ':') : NULL;
        if (!third)
            continue;
        unsigned long start = strtoul((ranges ? second : third) + 1, NULL, 10);
        unsigned long count = ranges ? strtoul(third + 1, NULL, 10) : 1;
        if (id >= start && id - start < count)
            return true;
    }
    return false;
}

static bool is_mapped(const char *path, uint32_t id)
{
    px_auto(close_file) FILE *file = fopen(path, "re");
    unsigned first, outside, count;
    while (file && fscanf(file, "%u %u %u", &first, &outside, &count) == 3)
        if (id >= first && id - first < count)
            return true;
    return false;
}

static bool is_free(uint32_t id)
{
    return is_mapped("/proc/self/uid_map", id) && is_mapped("/proc/self/gid_map", id) &&
           !is_listed("/etc/passwd", false, id) && !is_listed("/etc/group", false, id) &&
           !is_listed("/etc/subuid", true, id) && !is_listed("/etc/subgid", true, id);
}

uint32_t px_run_ids_default(void)
{
    for (uint32_t id = FIRST; id < FIRST + CANDIDATES * STEP; id += STEP)
        if (is_free(id))
            return id;
    return NOBODY;
}

/* The candidates lie between those of px_run_ids_default(), so that another pyexec of this machine does not give one to its runs. */
uint32_t px_run_ids_other(uint32_t first, uint32_t count)
{
    for (uint32_t id = FIRST + STEP / 2; id < FIRST + CANDIDATES * STEP; id += STEP)
        if ((id < first || id - first >= count) && is_free(id))
            return id;
    return NOBODY < first || NOBODY - first >= count ? NOBODY : 0;
}
