/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of the processes below this one, read from /proc. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "bench/bench.h"

#define SAMPLE_MAX 100 /* at most so many processes are read, because the kernel walks the page tables of each */

struct process {
    pid_t pid, parent;
    int depth; /* how deep its PID namespace is nested, as this process sees it */
};

static bool read_process(const char *name, struct process *ret)
{
    char path[280], text[4096];
    snprintf(path, sizeof path, "/proc/%s/status", name);
    if (!isdigit((unsigned char)name[0]) || px_read_small_file(AT_FDCWD, path, text, sizeof text) < 0)
        return false;
    const char *ids = strstr(text, "\nNSpid:");
    *ret = (struct process){.pid = atoi(name), .parent = (pid_t)px_number_after(text, "PPid:", 0)};
    for (ids = ids ? ids + 7 : ""; *ids && *ids != '\n'; ids++)
        ret->depth += isdigit((unsigned char)ids[0]) && !isdigit((unsigned char)ids[1]);
    return true;
}

/* Returns all processes that this process may see. */
static struct process *list_processes(size_t *ret_count)
{
    struct process *all = NULL;
    size_t count = 0, room = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        struct process one;
        if (!read_process(entry->d_name, &one))
            continue;
        if (count == room) {
            struct process *larger = reallocarray(all, room = room ? room * 2 : 256, sizeof *all);
            if (!larger)
                break;
            all = larger;
        }
        all[count++] = one;
    }
    if (proc)
        closedir(proc);
    *ret_count = count;
    return all;
}

/* Moves the processes below this one to the front, parents before children. Returns how many there are. */
static size_t gather_below(struct process *all, size_t count)
{
    size_t found = 0;
    for (size_t done = 0; done <= found; done++) {
        pid_t parent = done ? all[done - 1].pid : getpid();
        for (size_t i = found; i < count; i++)
            if (all[i].parent == parent) {
                struct process moved = all[i];
                all[i] = all[found];
                all[found++] = moved;
            }
    }
    return found;
}

pid_t *bench_processes_below(size_t *ret_count)
{
    size_t count;
    px_auto_free struct process *all = list_processes(&count);
    *ret_count = gather_below(all, count);
    pid_t *pids = *ret_count ? calloc(*ret_count, sizeof *pids) : NULL;
    if (!pids)
        *ret_count = 0;
    for (size_t i = 0; i < *ret_count; i++)
        pids[i] = all[i].pid;
    return pids;
}

double bench_proc_kib(const char *path, const char *key)
{
    char text[8192];
    return px_read_small_file(AT_FDCWD, path, text, sizeof text) < 0 ? 0 : (double)px_number_after(text, key, 0);
}

void bench_memory_take(struct bench_memory *ret)
{
    size_t count;
    px_auto_free struct process *all = list_processes(&count);
    size_t below = gather_below(all, count);
    double private_kib[SAMPLE_MAX], pss_kib[SAMPLE_MAX];
    int deepest = 0;
    *ret = (struct bench_memory){0};
    /* Each script has its own PID namespace, one level below the zygote's. */
    for (size_t i = 0; i < below; i++)
        deepest = all[i].depth > deepest ? all[i].depth : deepest;
    for (size_t i = 0; i < below && ret->processes < SAMPLE_MAX; i++) {
        char path[48];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", all[i].pid);
        double pss = all[i].depth == deepest ? bench_proc_kib(path, "Pss:") : 0;
        if (!(pss > 0))
            continue;
        pss_kib[ret->processes] = pss;
        private_kib[ret->processes++] = bench_proc_kib(path, "Private_Dirty:");
    }
    ret->private_kib = bench_percentile(private_kib, ret->processes, 50);
    ret->pss_kib = bench_percentile(pss_kib, ret->processes, 50);
}
