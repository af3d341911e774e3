/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of `pyexec bench`: other programs and our command line as whole processes, the baselines inside our
 * zygote, and execute_once. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/json.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/processors.h"
#include "base/retry.h"
#include "bench/bench.h"
#include "cli/handles.h"

/* Starts a program with all streams on /dev/null and waits for it. Returns microseconds, or -1 with `error`. */
static double time_program(const char *const *argv, pyexec_error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int failure = 0;
    for (int fd = 0; fd <= STDERR_FILENO && !failure; fd++)
        failure = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    int64_t start = px_now_ns();
    pid_t pid = -1;
    int status = 0;
    if (!failure)
        failure = posix_spawnp(&pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure)
        return px_error_errno(error, PYEXEC_INTERNAL, failure, "bench: can't start '%s'", argv[0]);
    if (px_waitpid(pid, &status, 0) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "bench: can't wait");
    int64_t end = px_now_ns();
    if (status != 0)
        return px_error_set(error, PYEXEC_INTERNAL, "bench: '%s' failed (wait status 0x%x)", argv[0], (unsigned)status);
    return (double)(end - start) / 1000;
}

static int measure_program(struct bench_samples *samples, const char *const *argv, size_t count, pyexec_error *error)
{
    size_t from = samples->count;
    for (size_t i = 0; i < count; i++) {
        double us = time_program(argv, error);
        if (us < 0 || bench_samples_add(samples, us, error) < 0)
            return -1;
    }
    return bench_samples_end_round(samples, from, error);
}

/* Before a run from the pool, because the pool of a service that is not overloaded is full; and before a call of a
 * session whose processes must have gone to sleep. */
static void rest(void)
{
    px_sleep_ns(3000000);
}

static int measure_runs(struct bench_samples *samples, enum bench_row row, pyexec_executor *executor, size_t count,
                        pyexec_error *error)
{
    size_t from = samples->count;
    pyexec_request *request = bench_request(error);
    int status = request ? 0 : -1;
    for (size_t i = 0; i < count && status == 0; i++) {
        double us;
        if (row == BENCH_POOLED || row == BENCH_POOLED_FILES || row == BENCH_SESSION_IDLE)
            rest();
        status = bench_call(executor, row == BENCH_SESSION || row == BENCH_SESSION_IDLE ? "bench" : NULL, request, &us,
                            error);
        if (status == 0)
            status = bench_samples_add(samples, us, error);
    }
    pyexec_request_free(request);
    return status < 0 ? -1 : bench_samples_end_round(samples, from, error);
}

/* The library gives percentiles of each round and not its samples. So a row shows the medians of these percentiles
 * over all rounds. */
struct floor_rounds {
    struct bench_samples p50, p90, p99;
};

static const struct {
    enum bench_row row;
    size_t offset; /* place of the pyexec_floor in pyexec_floors */
} floors[] = {
    {BENCH_FLOOR_CLONE, offsetof(pyexec_floors, clone)},
    {BENCH_FLOOR_NAMESPACES, offsetof(pyexec_floors, clone_namespaces)},
    {BENCH_FLOOR_ROUND_TRIP, offsetof(pyexec_floors, socket_round_trip)},
    {BENCH_FLOOR_FIRST_TRIP, offsetof(pyexec_floors, socket_round_trip_first)},
};

static int measure_floors(struct floor_rounds *rounds, pyexec_executor *executor, int iterations, pyexec_error *error)
{
    pyexec_floors measured;
    if (pyexec_floors_measure(executor, iterations, &measured, error) < 0)
        return -1;
    for (size_t i = 0; i < PX_COUNT(floors); i++) {
        const pyexec_floor *floor = (const pyexec_floor *)((const char *)&measured + floors[i].offset);
        size_t from = rounds[i].p50.count;
        if (bench_samples_add(&rounds[i].p50, floor->p50, error) < 0 ||
            bench_samples_add(&rounds[i].p90, floor->p90, error) < 0 ||
            bench_samples_add(&rounds[i].p99, floor->p99, error) < 0 ||
            bench_samples_end_round(&rounds[i].p50, from, error) < 0)
            return -1;
    }
    return 0;
}

/* Copies the rounds of the baselines into their rows. */
static void take_floors(struct bench *bench, struct floor_rounds *rounds)
{
    for (size_t i = 0; i < PX_COUNT(floors); i++) {
        bench_samples_summarise(&rounds[i].p50);
        bench_samples_summarise(&rounds[i].p90);
        bench_samples_summarise(&rounds[i].p99);
        struct bench_samples *row = &bench->rows[floors[i].row];
        *row = rounds[i].p50;
        row->p90 = rounds[i].p90.p50;
        row->p99 = rounds[i].p99.p50;
        bench_samples_done(&rounds[i].p90);
        bench_samples_done(&rounds[i].p99);
    }
}

static int measure_programs(struct bench *bench, const struct bench_plan *plan, pyexec_error *error)
{
    const char *const python[] = {bench->python, "-I", "-S", "-c", "pass", NULL};
    const char *const bubblewrap[] = {"bwrap",         "--ro-bind",   "/",  "/",  "--dev", "/dev", "--proc", "/proc",
                                      "--unshare-all", bench->python, "-I", "-S", "-c",    "pass", NULL};
    const char *const ours[] = {"/proc/self/exe", "run", "--python-bin", bench->python, "-c", "1+1", NULL};
    struct bench_samples *rows = bench->rows;
    if (measure_program(&rows[BENCH_PYTHON], python, plan->programs, error) < 0 ||
        measure_program(&rows[BENCH_CLI], ours, plan->programs, error) < 0)
        return -1;
    return !bench->has_bubblewrap ? 0 : measure_program(&rows[BENCH_BUBBLEWRAP], bubblewrap, plan->programs, error);
}

/* Executors of one kind each, whose figures are compared. */
struct executors {
    pyexec_executor *unpooled, *pooled, *files;
};

static int measure_round(struct bench *bench, const struct bench_plan *plan, struct floor_rounds *rounds,
                         const struct executors *executors, pyexec_error *error)
{
    struct bench_samples *rows = bench->rows;
    if (measure_programs(bench, plan, error) < 0 ||
        measure_floors(rounds, executors->unpooled, plan->floors, error) < 0)
        return -1;
    const struct {
        enum bench_row row;
        pyexec_executor *executor;
    } kinds[] = {{BENCH_EXECUTE, executors->unpooled},
                 {BENCH_POOLED, executors->pooled},
                 {BENCH_POOLED_FILES, executors->files},
                 {BENCH_SESSION, executors->pooled},
                 {BENCH_SESSION_IDLE, executors->pooled}};
    for (size_t i = 0; i < PX_COUNT(kinds); i++)
        if (measure_runs(&rows[kinds[i].row], kinds[i].row, kinds[i].executor, plan->runs, error) < 0)
            return -1;
    return 0;
}

/* Measures children that wait in a pool. Below this executor there are no other processes except its zygote. */
static int measure_waiting(struct bench_memory *ret, const struct cli_settings *settings, pyexec_error *error)
{
    cli_auto_executor pyexec_executor *executor = NULL;
    struct bench_samples ignored = {0};
    if (bench_new_executor(settings, 1, true, NULL, &executor, error) < 0)
        return -1;
    int status = measure_runs(&ignored, BENCH_POOLED, executor, 50, error);
    bench_samples_done(&ignored);
    if (status == 0)
        bench_memory_take(ret);
    return status;
}

static int open_executors(struct executors *ret, const struct cli_settings *settings, pyexec_error *error)
{
    px_auto_json json_t *files = json_pack("{s:b, s:b}", "disable_open", 0, "allow_readonly_open", 0);
    if (!files)
        return px_error_oom(error);
    if (bench_new_executor(settings, 1, false, NULL, &ret->unpooled, error) < 0 ||
        bench_new_executor(settings, 1, true, NULL, &ret->pooled, error) < 0)
        return -1;
    return bench_new_executor(settings, 1, true, files, &ret->files, error);
}

static void close_executors(struct executors *executors)
{
    pyexec_executor_free(executors->unpooled);
    pyexec_executor_free(executors->pooled);
    pyexec_executor_free(executors->files);
}

static int measure_latencies(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
                             pyexec_error *error)
{
    px_auto(close_executors) struct executors executors = {0};
    if (open_executors(&executors, settings, error) < 0)
        return -1;
    struct floor_rounds rounds[PX_COUNT(floors)] = {0};
    struct bench_samples warm_up = {0};
    int status = measure_runs(&warm_up, BENCH_EXECUTE, executors.unpooled, 20, error);
    if (status == 0)
        status = measure_runs(&warm_up, BENCH_POOLED, executors.pooled, 20, error);
    if (status == 0)
        status = measure_runs(&warm_up, BENCH_POOLED_FILES, executors.files, 20, error);
    bench_samples_done(&warm_up);
    for (size_t i = 0; i < plan->rounds && status == 0; i++)
        status = measure_round(bench, plan, rounds, &executors, error);
    take_floors(bench, rounds);
    return status;
}

static int measure_load(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
                        pyexec_error *error)
{
    cli_auto_executor pyexec_executor *one = NULL, *pooled = NULL, *unpooled = NULL;
    if (bench_new_executor(settings, 1, true, NULL, &one, error) < 0 ||
        bench_load(one, false, bench->threads, plan->seconds_tenths, &bench->runs_per_second[0], error) < 0)
        return -1;
    pyexec_executor_free(TAKE_PTR(one));
    if (bench_new_executor(settings, BENCH_ZYGOTES_MAX, true, NULL, &pooled, error) < 0 ||
        bench_new_executor(settings, BENCH_ZYGOTES_MAX, false, NULL, &unpooled, error) < 0)
        return -1;
    /* These two are compared, so they take turns. */
    for (int turn = 0; turn < plan->load_turns; turn++) {
        double with, without;
        if (bench_load(pooled, false, bench->threads, plan->seconds_tenths / plan->load_turns, &with, error) < 0 ||
            bench_load(unpooled, false, bench->threads, plan->seconds_tenths / plan->load_turns, &without, error) < 0)
            return -1;
        bench->runs_per_second[BENCH_ZYGOTES_MAX - 1] += with / plan->load_turns;
        bench->runs_per_second_unpooled += without / plan->load_turns;
    }
    return 0;
}

#define OUTPUT_BYTES 100000000

/* Measures runs that print 100 MB, all of which the result contains. The limits of time are generous, because the
 * machine may be busy. */
static int measure_output(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
                          pyexec_error *error)
{
    cli_auto_executor pyexec_executor *executor = NULL;
    px_auto_json json_t *changes =
        json_pack("{s:i, s:i, s:n}", "max_stdout_bytes", OUTPUT_BYTES, "timeout_ms", 60000, "cpu_time_seconds");
    if (!changes)
        return px_error_oom(error);
    cli_auto_request pyexec_request *request =
        bench_request_code("for _ in range(100):\n    print('x' * 999_999)", error);
    if (!request || bench_new_executor(settings, 1, false, changes, &executor, error) < 0)
        return -1;
    struct bench_samples *row = &bench->rows[BENCH_OUTPUT];
    for (size_t i = 0; i < plan->outputs; i++) {
        cli_auto_result pyexec_result *result = NULL;
        size_t length;
        int64_t start = px_now_ns();
        if (pyexec_execute_once(executor, request, &result, error) < 0)
            return -1;
        double us = (double)(px_now_ns() - start) / 1000;
        (void)pyexec_result_stdout(result, &length);
        if (pyexec_result_status(result) != PYEXEC_STATUS_OK || length != OUTPUT_BYTES)
            return px_error_set(error, PYEXEC_INTERNAL,
                                "bench: a run that prints %d bytes ended with status %s and %zu bytes", OUTPUT_BYTES,
                                pyexec_status_name(pyexec_result_status(result)), length);
        if (bench_samples_add(row, us, error) < 0)
            return -1;
    }
    return bench_samples_end_round(row, 0, error);
}

#define PRELOADED_SESSIONS 10

/* Measures with packages that the interpreter may not have. Then the report says so, and the benchmark does not
 * fail. */
static int try_preloaded(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
                         const json_t *changes, pyexec_error *error)
{
    cli_auto_executor pyexec_executor *executor = NULL, *idle = NULL;
    if (bench_new_executor(settings, BENCH_ZYGOTES_MAX, true, changes, &executor, error) < 0 ||
        bench_load(executor, false, bench->threads, plan->seconds_tenths, &bench->preloaded.runs_per_second, error) <
            0 ||
        bench_new_executor(settings, 1, false, changes, &idle, error) < 0)
        return -1;
    pyexec_executor_free(TAKE_PTR(executor));
    pyexec_request *request = bench_request(error);
    int status = request ? 0 : -1;
    for (int i = 0; i < PRELOADED_SESSIONS && status == 0; i++) {
        char name[16];
        double us;
        snprintf(name, sizeof name, "bench-%d", i);
        status = bench_call(idle, name, request, &us, error);
    }
    pyexec_request_free(request);
    if (status == 0)
        bench_memory_take(&bench->preloaded.session);
    return status;
}

static void measure_preloaded(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings)
{
    /* The packages may belong to the system, so site-packages must be visible, and they map a large address space. */
    json_t *changes = json_pack("{s:[s, s], s:b, s:n}", "preload_imports", "numpy", "pandas", "isolate_site", 0,
                                "address_space_bytes");
    if (!changes)
        px_error_oom(&bench->preloaded.error);
    else if (try_preloaded(bench, plan, settings, changes, &bench->preloaded.error) == 0)
        bench->preloaded.error.code = PYEXEC_OK;
    json_decref(changes);
}

/* True if bwrap is installed and works on this machine. */
static bool bubblewrap_works(void)
{
    const char *const argv[] = {"bwrap", "--ro-bind", "/", "/", "--unshare-all", "true", NULL};
    pyexec_error ignored;
    return time_program(argv, &ignored) >= 0;
}

int bench_run(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
              pyexec_error *error)
{
    bench->threads = 2 * (int)px_processors();
    bench->rounds = plan->rounds;
    bench->has_bubblewrap = bubblewrap_works();
    if (bench_find_python(&bench->python, settings, error) < 0 || measure_latencies(bench, plan, settings, error) < 0 ||
        measure_waiting(&bench->waiting, settings, error) < 0 || measure_output(bench, plan, settings, error) < 0 ||
        measure_load(bench, plan, settings, error) < 0)
        return -1;
    measure_preloaded(bench, plan, settings);
    if (plan->sessions)
        bench_fleet_run(&bench->fleet, plan, settings);
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++)
        if (bench->rows[row].p50 == 0)
            bench_samples_summarise(&bench->rows[row]);
    return 0;
}

void bench_done(struct bench *bench)
{
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++)
        bench_samples_done(&bench->rows[row]);
    bench_samples_done(&bench->fleet.calls);
    free(bench->python);
}
