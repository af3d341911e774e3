/* SPDX-License-Identifier: Apache-2.0 */
/* Many idle sessions. One process can hold only as many as its limit of open files allows. When more are wanted,
 * several hosts are forked before any of them has a thread. The leader tells them each step over a socket, and
 * they write their results into shared memory. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/retry.h"
#include "bench/bench.h"

#define HOSTS_MAX 64
#define DESCRIPTORS_PER_SESSION 4
#define DESCRIPTORS_BESIDE 100
#define THREADS_MAX 16

struct host {
    const struct cli_settings *settings;
    const struct bench_plan *plan;
    int threads;
    double *call_us;    /* times of its own sessions, in shared memory */
    int64_t *opened_ns; /* when each of them was opened, also in shared memory */
    size_t count;
    pyexec_executor *executor;

    pid_t pid; /* only the leader uses these two */
    int socket;
    /* The host writes these, and the leader reads them. */
    atomic_size_t next;
    size_t opened;
    int64_t idle_cpu_ns;
    double rss_kib;
    struct bench_memory memory;
    pyexec_error error;
};

/* ---- In a host ---- */

struct opener {
    pthread_t thread;
    struct host *host;
    size_t opened;
    bool failed;
    pyexec_error error;
};

static void name_session(char name[32], size_t i)
{
    snprintf(name, 32, "bench-%zu", i);
}

static void *open_some(void *argument)
{
    struct opener *opener = argument;
    struct host *host = opener->host;
    pyexec_request *request = bench_request(&opener->error);
    opener->failed = !request;
    while (!opener->failed) {
        char name[32];
        double us;
        size_t i = atomic_fetch_add(&host->next, 1);
        if (i >= host->count)
            break;
        name_session(name, i);
        opener->failed = bench_call(host->executor, name, request, &us, &opener->error) < 0;
        opener->opened += !opener->failed;
        host->opened_ns[i] = px_now_ns();
        if (opener->failed)
            atomic_store(&host->next, host->count);
    }
    pyexec_request_free(request);
    return NULL;
}

static int open_all(struct host *host)
{
    struct opener openers[THREADS_MAX] = {{0}};
    int started = 0, result = 0;
    for (; started < host->threads; started++) {
        openers[started].host = host;
        int failed = pthread_create(&openers[started].thread, NULL, open_some, &openers[started]);
        if (failed) {
            result = px_error_errno(&host->error, PYEXEC_INTERNAL, failed, "bench: can't start a thread");
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(openers[i].thread, NULL);
        host->opened += openers[i].opened;
        if (openers[i].failed && result == 0) {
            host->error = openers[i].error;
            result = -1;
        }
    }
    return result;
}

static int64_t cpu_below_ns(const pid_t *pids, size_t count)
{
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        clockid_t clock;
        struct timespec used;
        if (clock_getcpuclockid(pids[i], &clock) == 0 && clock_gettime(clock, &used) == 0)
            total += px_timespec_ns(used);
    }
    return total;
}

static int stay_idle(struct host *host)
{
    size_t count;
    px_auto_free pid_t *pids = bench_processes_below(&count);
    int64_t below = cpu_below_ns(pids, count), own = px_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    px_sleep_ns(host->plan->idle_tenths * INT64_C(100000000));
    own = px_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    host->idle_cpu_ns = own + cpu_below_ns(pids, count) - below;
    return 0;
}

static int take_memory(struct host *host)
{
    host->rss_kib = bench_proc_kib("/proc/self/status", "VmRSS:");
    bench_memory_take(&host->memory);
    return 0;
}

static int call_each(struct host *host)
{
    pyexec_request *request = bench_request(&host->error);
    int result = request ? 0 : -1;
    for (size_t i = 0; i < host->count && result == 0; i++) {
        char name[32];
        name_session(name, i);
        result = bench_call(host->executor, name, request, &host->call_us[i], &host->error);
    }
    pyexec_request_free(request);
    return result;
}

static int begin(struct host *host)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return bench_new_executor(host->settings, host->settings->host.zygotes, false, NULL, &host->executor, &host->error);
}

static const struct {
    int (*run)(struct host *host);
    bool at_once; /* true: all hosts together; false: one after another */
} steps[] = {{begin, true}, {open_all, true}, {stay_idle, true}, {take_memory, false}, {call_each, false}};
#define STEP_OPEN 1

/* Makes one step for each byte received. Ends when the leader closes the socket, or at the first failure. */
static void be_host(struct host *host, int leader)
{
    char byte;
    for (size_t step = 0; step < PX_COUNT(steps); step++)
        if (px_recv(leader, &byte, 1, 0) != 1 || steps[step].run(host) < 0 ||
            px_send(leader, "d", 1, MSG_NOSIGNAL) != 1)
            break;
    pyexec_executor_free(host->executor);
    _exit(EXIT_SUCCESS);
}

/* ---- In the leader ---- */

static size_t sessions_per_host(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max < DESCRIPTORS_BESIDE + DESCRIPTORS_PER_SESSION)
        return 1;
    return (limit.rlim_max - DESCRIPTORS_BESIDE) / DESCRIPTORS_PER_SESSION;
}

static int start_host(struct host *hosts, size_t index, pyexec_error *error)
{
    struct host *host = &hosts[index];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "bench: can't make a socket");
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < index; i++)
            close(hosts[i].socket);
        close(pair[0]);
        be_host(host, pair[1]);
    }
    close(pair[1]);
    host->pid = pid;
    host->socket = pair[0];
    if (pid < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "bench: can't fork");
    return 0;
}

static int await_step(struct host *host, pyexec_error *error)
{
    char byte;
    if (px_recv(host->socket, &byte, 1, 0) == 1)
        return 0;
    if (host->error.code == PYEXEC_OK)
        return px_error_set(error, PYEXEC_INTERNAL, "bench: the process of %zu sessions is gone", host->count);
    *error = host->error;
    return -1;
}

static int take_step(struct host *hosts, size_t count, size_t step, pyexec_error *error)
{
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        if (px_send(hosts[i].socket, "g", 1, MSG_NOSIGNAL) != 1)
            result = px_error_errno(error, PYEXEC_INTERNAL, errno, "bench: a process has ended unexpectedly");
        else if (!steps[step].at_once && await_step(&hosts[i], error) < 0)
            result = -1;
    }
    for (size_t i = 0; i < count && steps[step].at_once; i++)
        if (await_step(&hosts[i], error) < 0)
            result = -1;
    return result;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Divides the sessions into blocks, in the order in which they were opened. */
static void rate_blocks(struct bench_fleet *fleet, int64_t *opened_ns, int64_t start_ns)
{
    qsort(opened_ns, fleet->wanted, sizeof *opened_ns, compare_times);
    for (size_t i = 0, from = 0; i < BENCH_BLOCKS; i++) {
        size_t until = fleet->wanted * (i + 1) / BENCH_BLOCKS;
        if (until == from)
            continue;
        int64_t took = opened_ns[until - 1] - start_ns;
        fleet->opened_by_block[i] = took > 0 ? (double)(until - from) * 1e9 / (double)took : 0;
        start_ns = opened_ns[until - 1];
        from = until;
    }
}

static void collect(struct bench_fleet *fleet, const struct host *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fleet->opened += hosts[i].opened;
        fleet->idle_cpu_us += (double)hosts[i].idle_cpu_ns / 1e3;
        if (hosts[i].rss_kib > fleet->host_rss_kib)
            fleet->host_rss_kib = hosts[i].rss_kib;
        if (hosts[i].memory.private_kib > fleet->memory.private_kib)
            fleet->memory = hosts[i].memory;
    }
}

static int lead(struct bench_fleet *fleet, struct host *hosts, size_t count)
{
    pyexec_error *error = &fleet->error;
    double before = bench_proc_kib("/proc/meminfo", "MemAvailable:");
    for (size_t step = 0; step < PX_COUNT(steps); step++) {
        int64_t start = px_now_ns();
        if (take_step(hosts, count, step, error) < 0)
            return -1;
        if (step == STEP_OPEN) {
            fleet->opened_per_second = (double)fleet->wanted * 1e9 / (double)(px_now_ns() - start);
            rate_blocks(fleet, hosts[0].opened_ns, start);
            fleet->machine_kib = (before - bench_proc_kib("/proc/meminfo", "MemAvailable:")) / (double)fleet->wanted;
        }
    }
    return 0;
}

static void share_out(struct bench_fleet *fleet, struct host *hosts, size_t count, double *call_us, int64_t *opened_ns,
                      const struct bench_plan *plan, const struct cli_settings *settings)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (size_t i = 0; i < count; i++) {
        size_t first = fleet->wanted * i / count;
        hosts[i] = (struct host){.settings = settings,
                                 .plan = plan,
                                 .call_us = call_us + first,
                                 .opened_ns = opened_ns + first,
                                 .count = fleet->wanted * (i + 1) / count - first,
                                 .socket = -1};
        hosts[i].threads = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (int)cpus;
    }
}

void bench_fleet_run(struct bench_fleet *fleet, const struct bench_plan *plan, const struct cli_settings *settings)
{
    size_t most = sessions_per_host(), count = (plan->sessions + most - 1) / most, started = 0;
    fleet->wanted = plan->sessions;
    fleet->processes = count;
    if (count > HOSTS_MAX) {
        px_error_set(&fleet->error, PYEXEC_INTERNAL,
                     "%zu sessions would need %zu processes: the limit of open files allows %zu each", plan->sessions,
                     count, most);
        px_error_hint(&fleet->error, "Raise the hard limit of open files (ulimit -Hn).");
        return;
    }
    size_t size = count * sizeof(struct host) + plan->sessions * (sizeof(double) + sizeof(int64_t));
    struct host *hosts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (hosts == MAP_FAILED) {
        px_error_oom(&fleet->error);
        return;
    }
    double *call_us = (double *)(hosts + count);
    int64_t *opened_ns = (int64_t *)(call_us + plan->sessions);
    share_out(fleet, hosts, count, call_us, opened_ns, plan, settings);
    int result = 0;
    while (started < count && result == 0)
        result = start_host(hosts, started++, &fleet->error);
    if (result == 0)
        result = lead(fleet, hosts, count);
    for (size_t i = 0; i < started; i++) {
        px_close_fd(&hosts[i].socket);
        if (hosts[i].pid > 0)
            (void)!px_waitpid(hosts[i].pid, NULL, 0);
    }
    collect(fleet, hosts, count);
    fleet->idle_cpu_us *= 10.0 / plan->idle_tenths;
    for (size_t i = 0; i < plan->sessions && result == 0; i++)
        result = bench_samples_add(&fleet->calls, call_us[i], &fleet->error);
    bench_samples_summarise(&fleet->calls);
    munmap(hosts, size);
}
