/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/egress_wall.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "egress/egress_filter.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"

#define FIRST_UNUSED_FD 3
#define EXIT_REFUSED_CALL 3

void px_egress_wall_prepare(void)
{
    px_libexec_hide();
    syscall(SYS_close_range, FIRST_UNUSED_FD, ~0u, 0u);
    umask(077);
    (void)!chdir("/");
}

/* True in a user namespace that has one id, such as `unshare -r` and rootless containers make: no other id can be taken, and this one is
 * not root outside. */
static bool has_one_id(void)
{
    char text[256];
    unsigned first, outside, count;
    int end = 0;
    return px_read_small_file(AT_FDCWD, "/proc/self/uid_map", text, sizeof text) > 0 &&
           sscanf(text, "%u %u %u %n", &first, &outside, &count, &end) == 3 && count == 1 && !text[end];
}

/* The greatest id means "no change" to setresuid(2). */
static bool is_other_id(const json_t *id)
{
    return json_is_integer(id) && json_integer_value(id) >= 1 && json_integer_value(id) < UINT32_MAX;
}

static const char *change_ids(const json_t *uid, const json_t *gid, char *why, size_t size)
{
    bool root = geteuid() == 0;
    if (has_one_id() || (!root && !json_is_integer(uid)))
        return NULL;
    if (!is_other_id(uid) || !is_other_id(gid))
        return "started as root, and the host named no other id";
    uid_t user = (uid_t)json_integer_value(uid);
    gid_t group = (gid_t)json_integer_value(gid);
    if (setgroups(0, NULL) == 0 && setresgid(group, group, group) == 0 && setresuid(user, user, user) == 0)
        return NULL;
    /* The host names ids in any case. A program that is not root keeps its own, unless it has CAP_SETUID and CAP_SETGID. */
    if (!root && errno == EPERM)
        return NULL;
    snprintf(why, size, "can't become user %u and group %u: %s", user, group, strerror(errno));
    return why;
}

#ifdef PX_SANITIZED
/* The leak checker of the sanitizers reads /proc and the memory of this program, and makes system calls of its own. */
static int enter_landlock(void)
{
    prctl(PR_SET_DUMPABLE, 1);
    return 1;
}

static int enter_filter(void)
{
    return 0;
}
#else
/* A folder is here for files in it that are replaced while this program runs; in /etc there are too many others. Without /dev/urandom c-ares
 * up to 1.18 takes the ids of its queries from rand(3), and they are the same after each start. */
static int enter_landlock(void)
{
    static const char *const paths[] = {"/etc/resolv.conf",    "/etc/hosts",           "/etc/nsswitch.conf",
                                        "/etc/host.conf",      "/run/systemd/resolve", "/run/resolvconf",
                                        "/run/NetworkManager", "/dev/urandom",         NULL};
    const struct px_landlock_rules rules = {
        .root = -1, .paths = paths, .workspace = -1, .network = true, .abi = px_landlock_abi()};
    return rules.abi > 0 ? px_landlock_enter(&rules) : 1;
}

/* Async-signal-safe. */
static void refused_call(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    char text[] = "pyexec-egress: made the system call 0000, which its filter does not have\n";
    unsigned number = (unsigned)info->si_syscall;
    for (char *digit = strstr(text, "0000") + 3; number && *digit == '0'; number /= 10)
        *digit-- = (char)('0' + number % 10);
    (void)!px_write(STDERR_FILENO, text, sizeof text - 1);
    _exit(EXIT_REFUSED_CALL);
}
static int enter_filter(void)
{
    struct sigaction action = {.sa_sigaction = refused_call, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &px_egress_filter);
}
#endif

const char *px_egress_wall_enter(const json_t *uid, const json_t *gid, const char **ret_missing, char *why,
                                 size_t why_size)
{
    const char *problem = change_ids(uid, gid, why, why_size);
    if (problem)
        return problem;
    if (px_privileges_drop() < 0)
        return "the privileges can't be dropped";
    px_libexec_hide(); /* a change of ids may have made the process dumpable again */
    int landlock = enter_landlock();
    if (landlock < 0) {
        snprintf(why, why_size, "Landlock can't be entered: %s", strerror(errno));
        return why;
    }
    *ret_missing = landlock ? "landlock" : NULL;
    if (enter_filter() < 0) {
        snprintf(why, why_size, "the system call filter can't be installed: %s", strerror(errno));
        return why;
    }
    return NULL;
}
