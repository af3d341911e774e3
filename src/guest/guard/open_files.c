/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guard/open_files.h"

#include <sys/resource.h>
#include <sys/stat.h>

#define IMPORTS_MAX 8        /* the most files that an import may have open */
#define LIBRARY_FILES_MAX 72 /* as many fonts as matplotlib keeps open, and some more */

static struct {
    size_t library_max;
    const struct px_script *run;
    int loading; /* how many imports that load a module are running, in all threads */
    size_t held; /* files that libraries have open */
    struct {
        dev_t device;
        ino_t inode;
    } known[LIBRARY_FILES_MAX]; /* the files that libraries have opened */
    size_t known_count;
} state;

void px_open_files_prepare(bool packages)
{
    state.library_max = packages ? LIBRARY_FILES_MAX : 0;
}

uint64_t px_open_files_reserve(void)
{
    return IMPORTS_MAX + state.library_max;
}

/* RLIMIT_NOFILE limits the numbers of descriptors (getrlimit(2)). The soft limit is the script's own share, plus
 * the part of the reserve below the hard limit that is lent at the moment. */
static void set_limit(void)
{
    struct rlimit limit;
    if (!state.run || state.run->max_open_files == UINT64_MAX || getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        limit.rlim_max < px_open_files_reserve())
        return;
    rlim_t lent = state.loading ? px_open_files_reserve() : state.held;
    limit.rlim_cur = limit.rlim_max - px_open_files_reserve() + lent;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void px_open_files_arm(const struct px_script *run)
{
    state.run = run;
}

void px_open_files_import(int step)
{
    bool first = step > 0 && state.loading == 0, last = step < 0 && state.loading == 1;
    state.loading += step;
    if (first || last)
        set_limit();
}

static bool is_known(const struct stat *status)
{
    for (size_t i = 0; i < state.known_count; i++)
        if (state.known[i].device == status->st_dev && state.known[i].inode == status->st_ino)
            return true;
    return false;
}

static size_t count_held(void)
{
    struct rlimit limit;
    struct stat status;
    size_t count = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    for (int fd = 3; (rlim_t)fd < limit.rlim_cur && count < state.library_max; fd++)
        count += fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_known(&status);
    return count;
}

void px_open_files_library(const char *path)
{
    struct stat status;
    if (!state.run || !state.library_max || state.run->max_open_files == UINT64_MAX || stat(path, &status) < 0 ||
        !S_ISREG(status.st_mode))
        return;
    if (!is_known(&status)) {
        if (state.known_count == state.library_max)
            return;
        state.known[state.known_count].device = status.st_dev;
        state.known[state.known_count++].inode = status.st_ino;
    }
    size_t held = count_held() + 1;
    state.held = held < state.library_max ? held : state.library_max;
    set_limit();
}

void px_open_files_script(void)
{
    if (!state.held)
        return;
    state.held = count_held();
    set_limit();
}
