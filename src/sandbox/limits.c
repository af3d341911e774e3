/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits and the drop of privileges, in a child that is about to run a script. Makes only system calls:
 * it allocates nothing, takes no lock, and has nothing to undo on failure. */
#include "sandbox/limits.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Sets a limit, but not above the hard limit that is already in force: raising that needs CAP_SYS_RESOURCE in the
 * first user namespace. A lower limit than wanted is only stricter. */
static int set_limit(int resource, uint64_t soft, uint64_t hard)
{
    if (soft == UINT64_MAX)
        return 0;
    struct rlimit wanted = {.rlim_cur = soft, .rlim_max = hard};
    if (prlimit(0, resource, &wanted, NULL) == 0)
        return 0;
    struct rlimit had;
    if (errno != EPERM || prlimit(0, resource, NULL, &had) < 0)
        return -1;
    if (wanted.rlim_max > had.rlim_max)
        wanted.rlim_max = had.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max;
    return prlimit(0, resource, &wanted, NULL);
}

static uint64_t add(uint64_t left, uint64_t right)
{
    return left > UINT64_MAX - right ? UINT64_MAX : left + right;
}

/* RLIMIT_STACK is not changed: the main thread has its stack already, and glibc would use the limit as the size
 * of new threads' stacks, which the guest sets itself. */
int px_limits_enter(const struct px_limits *limits)
{
    static const struct {
        int resource;
        rlim_t value;
    } fixed[] = {
#define PX_RLIMIT_FIXED(resource, value) {resource, value},
#include "base/rlimits.def"
    };
    const struct {
        int resource;
        uint64_t value;
    } asked[] = {
#define PX_RLIMIT(resource, member, value) {resource, limits->member},
#include "base/rlimits.def"
    };
    for (size_t i = 0; i < PX_COUNT(fixed); i++)
        if ((fixed[i].resource != RLIMIT_SIGPENDING || !limits->keep_signals) &&
            set_limit(fixed[i].resource, fixed[i].value, fixed[i].value) < 0)
            return -1;
    for (size_t i = 0; i < PX_COUNT(asked); i++) {
        uint64_t reserve = asked[i].resource == RLIMIT_NOFILE ? limits->open_files_reserve : 0;
        if (set_limit(asked[i].resource, asked[i].value, add(asked[i].value, reserve)) < 0)
            return -1;
    }
    return 0;
}

int px_limits_open_files(uint64_t limit)
{
    return set_limit(RLIMIT_NOFILE, limit, limit);
}

static int read_capabilities(struct __user_cap_data_struct sets[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return (int)syscall(SYS_capget, &header, sets);
}

/* The bounding set is left as it is: it says what an execve could give, which is nothing with these bits, no_new_privs and execve refused. Dropping it would
 * copy the credentials 41 times (50 µs of a run). */
static int lock_securebits(void)
{
    return prctl(PR_SET_SECUREBITS, PX_SECUREBITS_LOCKED, 0, 0, 0);
}

/* When capset(2) removes a capability from the permitted set, the kernel removes it from the ambient set too. So the ambient set is
 * empty afterwards. */
static int clear_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct sets[2] = {{0}};
    return (int)syscall(SYS_capset, &header, sets);
}

/* Securebits need CAP_SETPCAP. A process that has no permitted capability (it changed its user id earlier)
 * can't set them and does not need them: they are about execve, which no_new_privs covers. */
int px_privileges_drop(void)
{
    struct __user_cap_data_struct sets[2];
    if (read_capabilities(sets) < 0)
        return -1;
    bool has_any = sets[0].permitted != 0 || sets[1].permitted != 0;
    if (has_any && lock_securebits() < 0)
        return -1;
    if (clear_capabilities() < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -1;
    return 0;
}
