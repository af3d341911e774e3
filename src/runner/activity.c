/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/activity.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"

/* Reading the state of one thread takes about 20 µs, and the caller may hold a lock. A process with more
 * threads is not examined and counts as busy. */
#define ACTIVITY_THREADS_MAX 32
#define BUSY_PARTS 100 /* using a hundredth of one CPU counts as busy */

void px_activity_begin(struct px_activity *activity, const struct px_child *child, int64_t cpu_ns)
{
    *activity = (struct px_activity){.child = child, .measured_ns = px_now_ns(), .cpu_ns = cpu_ns};
}

void px_activity_end(struct px_activity *activity)
{
    *activity = (struct px_activity){0};
}

/* Returns the letter of the thread's state (proc_pid_stat(5)), or '?'. The script chooses the name before it,
 * which can contain any bytes. */
static char thread_state(int tasks, const char *thread)
{
    char path[280], text[512];
    snprintf(path, sizeof path, "%s/stat", thread);
    if (px_read_small_file(tasks, path, text, sizeof text) < 0)
        return '?';
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : '?';
}

/* R: the thread runs, or is ready to run. D: it waits for a disk and will then continue. */
static bool is_at_rest(char state)
{
    return state != 'R' && state != 'D' && state != '?';
}

static bool all_at_rest(DIR *tasks)
{
    unsigned threads = 0;
    for (const struct dirent *entry; (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.')
            continue;
        if (++threads > ACTIVITY_THREADS_MAX || !is_at_rest(thread_state(dirfd(tasks), entry->d_name)))
            return false;
    }
    return threads > 0;
}

static bool no_thread_is_ready(const struct px_child *child)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/task", child->host_pid);
    px_auto_fd int fd = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
    if (!tasks)
        return false;
    (void)TAKE_FD(fd); /* closedir() closes the descriptor */
    bool rest = all_at_rest(tasks);
    closedir(tasks);
    return rest;
}

/* The process may wait because its host has not read its output. It continues after that. */
static bool has_unread_output(const struct px_child *child)
{
    for (int which = 0; which < 2; which++) {
        int unread = 0;
        if (child->streams[which] >= 0 && ioctl(child->streams[which], FIONREAD, &unread) == 0 && unread > 0)
            return true;
    }
    return false;
}

bool px_activity_waits(struct px_activity *activity, int64_t window_ns)
{
    int64_t now = px_now_ns(), elapsed = now - activity->measured_ns;
    if (!activity->child || elapsed < window_ns)
        return activity->waits;
    int64_t cpu = px_child_cpu_ns(activity->child);
    bool idle = cpu >= 0 && activity->cpu_ns >= 0 && (cpu - activity->cpu_ns) * BUSY_PARTS < elapsed;
    /* A process that waits counts as waiting until it has used CPU time. Hundreds are measured together, and
     * reading all their threads each time would take too long. PIDs are reused, so the process must still exist
     * after its threads were read. */
    activity->waits =
        idle && (activity->waits || (no_thread_is_ready(activity->child) && !has_unread_output(activity->child) &&
                                     px_child_alive(activity->child)));
    activity->measured_ns = now;
    activity->cpu_ns = cpu;
    return activity->waits;
}
