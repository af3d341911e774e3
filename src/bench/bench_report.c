/* SPDX-License-Identifier: Apache-2.0 */
/* The output of `pyexec bench`: rows, measured values and goals, as a table and as JSON. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "bench/bench.h"
#include "cli/print.h"

static const struct {
    const char *key;
    const char *title;
} row_names[BENCH_ROW_COUNT] = {
    [BENCH_PYTHON] = {"python", "python3 -I -S -c pass, start to exit"},
    [BENCH_BUBBLEWRAP] = {"bubblewrap", "bubblewrap + the same"},
    [BENCH_CLI] = {"cli", "pyexec run -c 1+1, cold"},
    [BENCH_FLOOR_CLONE] = {"floor_clone", "floor: clone of the warm interpreter"},
    [BENCH_FLOOR_NAMESPACES] = {"floor_clone_namespaces", "floor: the same with namespaces"},
    [BENCH_FLOOR_ROUND_TRIP] = {"floor_socket_round_trip", "floor: socket round trip, repeated"},
    [BENCH_FLOOR_FIRST_TRIP] = {"floor_socket_round_trip_first", "floor: first socket round trip to a waiting child"},
    [BENCH_EXECUTE] = {"execute_once", "execute_once of 1+1, unpooled"},
    [BENCH_POOLED] = {"execute_once_pooled", "execute_once of 1+1, pooled"},
    [BENCH_POOLED_FILES] = {"execute_once_pooled_files", "the same, the script may use files"},
    [BENCH_SESSION] = {"session", "execute of 1+1 in a session"},
    [BENCH_SESSION_IDLE] = {"session_idle", "the same, 3 ms after the last call"},
    [BENCH_OUTPUT] = {"output_100_mb", "execute_once that prints 100 MB"},
};

const char *bench_row_title(enum bench_row row)
{
    return row_names[row].title;
}

/* Ratios of two rows. A goal of 0 means that the ratio is only shown. */
static const struct {
    const char *key;
    const char *title;
    enum bench_row figure, floor;
    double goal;
} ratios[] = {
    {"execute_to_clone_namespaces", "unpooled / clone with namespaces", BENCH_EXECUTE, BENCH_FLOOR_NAMESPACES, 2.2},
    {"pooled_to_first_round_trip", "pooled / first socket round trip", BENCH_POOLED, BENCH_FLOOR_FIRST_TRIP, 3.2},
    {"pooled_to_round_trip", "pooled / repeated round trip", BENCH_POOLED, BENCH_FLOOR_ROUND_TRIP, 0},
    {"pooled_files_to_pooled", "pooled with files / pooled", BENCH_POOLED_FILES, BENCH_POOLED, 1.2},
    {"session_to_round_trip", "session / repeated round trip", BENCH_SESSION, BENCH_FLOOR_ROUND_TRIP, 0},
    {"cli_to_python", "cold command line / python3", BENCH_CLI, BENCH_PYTHON, 1.6},
};

/* A measured value and its goal, or the reason why it was not measured. */
struct figure {
    const char *key;
    const char *title;
    double value; /* 0 when why_not is set */
    double goal;  /* 0: no goal */
    bool at_least;
    const char *why_not; /* NULL: it was measured */
};

#define FIGURES_MAX 32

static double best_rate(const struct bench *bench)
{
    double best = 0;
    for (int i = 0; i < BENCH_ZYGOTES_MAX; i++)
        if (bench->runs_per_second[i] > best)
            best = bench->runs_per_second[i];
    return best;
}

static const char *why_no_memory(const struct bench_memory *memory)
{
    return memory->processes ? NULL : "/proc/PID/smaps_rollup can't be read";
}

static const char *why_no_fleet(const struct bench_fleet *fleet)
{
    if (!fleet->wanted)
        return "--sessions is 0";
    return fleet->error.code == PYEXEC_OK ? NULL : fleet->error.message;
}

static size_t gather_ratios(const struct bench *bench, struct figure *figures)
{
    for (size_t i = 0; i < PX_COUNT(ratios); i++)
        figures[i] = (struct figure){
            ratios[i].key,  ratios[i].title, bench_ratio(&bench->rows[ratios[i].figure], &bench->rows[ratios[i].floor]),
            ratios[i].goal, false,           NULL};
    return PX_COUNT(ratios);
}

static size_t gather_times(const struct bench *bench, struct figure *figures)
{
    const struct bench_samples *rows = bench->rows;
    const struct figure times[] = {
        {"execute_once_pooled_p50_us", "pooled run, p50, us", rows[BENCH_POOLED].p50, 140, false, NULL},
        {"execute_once_p50_us", "unpooled run, p50, us", rows[BENCH_EXECUTE].p50, 650, false, NULL},
        {"session_p50_us", "session, back to back, p50, us", rows[BENCH_SESSION].p50, 40, false, NULL},
        {"session_idle_p50_us", "session, after 3 ms idle, p50, us", rows[BENCH_SESSION_IDLE].p50, 80, false, NULL},
        {"output_100_mb_p50_ms", "100 MB of output, p50, ms", rows[BENCH_OUTPUT].p50 / 1000, 250, false, NULL},
    };
    memcpy(figures, times, sizeof times);
    return PX_COUNT(times);
}

static size_t gather_rates(const struct bench *bench, struct figure *figures)
{
    const struct bench_preloaded *preloaded = &bench->preloaded;
    const char *no_preloads = preloaded->error.code == PYEXEC_OK ? NULL : preloaded->error.message;
    double without = bench->runs_per_second_unpooled;
    const struct figure rates[] = {
        {"runs_per_second", "runs per second", best_rate(bench), 1900, true, NULL},
        {"runs_per_second_pool_to_no_pool", "runs per second, pool / no pool",
         without > 0 ? bench->runs_per_second[BENCH_ZYGOTES_MAX - 1] / without : 0, 1, true,
         without > 0 ? NULL : "no run ended in the time"},
        {"runs_per_second_preloaded", "runs per second, numpy and pandas", preloaded->runs_per_second, 650, true,
         no_preloads},
    };
    memcpy(figures, rates, sizeof rates);
    return PX_COUNT(rates);
}

static size_t gather_sessions(const struct bench *bench, struct figure *figures)
{
    const struct bench_preloaded *preloaded = &bench->preloaded;
    const struct bench_fleet *fleet = &bench->fleet;
    const char *no_preloads = preloaded->error.code == PYEXEC_OK ? NULL : preloaded->error.message;
    const char *no_fleet = why_no_fleet(fleet);
    double first = fleet->opened_by_block[0], last = fleet->opened_by_block[BENCH_BLOCKS - 1];
    const struct figure sessions[] = {
        {"waiting_child_private_kib", "private KiB of a waiting child", bench->waiting.private_kib, 1024, false,
         why_no_memory(&bench->waiting)},
        {"session_private_kib", "private KiB of an idle session", fleet->memory.private_kib, 0.6 * 1024, false,
         no_fleet ? no_fleet : why_no_memory(&fleet->memory)},
        {"session_private_kib_preloaded", "the same with numpy and pandas", preloaded->session.private_kib, 1.2 * 1024,
         false, no_preloads ? no_preloads : why_no_memory(&preloaded->session)},
        {"sessions_opened_per_second", "sessions opened per second", fleet->opened_per_second, 1500, true, no_fleet},
        {"sessions_opened_last_to_first", "the same, last tenth / first tenth", first > 0 ? last / first : 0, 0.9, true,
         no_fleet    ? no_fleet
         : first > 0 ? NULL
                     : "it needs 10 sessions or more"},
        {"idle_sessions_call_p99_us", "p99 of a call to each idle session, us", fleet->calls.p99, 5000, false,
         no_fleet},
        {"idle_cpu_us_per_second", "CPU of hosts and sessions, idle, us/second", fleet->idle_cpu_us, 100, false,
         no_fleet},
    };
    memcpy(figures, sessions, sizeof sessions);
    return PX_COUNT(sessions);
}

static size_t gather(const struct bench *bench, struct figure figures[FIGURES_MAX])
{
    size_t count = gather_ratios(bench, figures);
    count += gather_times(bench, figures + count);
    count += gather_rates(bench, figures + count);
    return count + gather_sessions(bench, figures + count);
}

static bool is_met(const struct figure *figure)
{
    if (figure->at_least)
        return figure->value >= figure->goal;
    return figure->value <= figure->goal;
}

static void add_figure(struct px_buffer *out, const struct figure *figure)
{
    bool colours = cli_colours();
    if (figure->why_not) {
        px_buffer_printf(out, "%-42s         -  not measured: %s\n", figure->title, figure->why_not);
        return;
    }
    px_buffer_printf(out, "%-42s%10.*f", figure->title, figure->value < 100 ? 2 : 0, figure->value);
    if (figure->goal > 0) {
        bool met = is_met(figure);
        px_buffer_printf(out, "  %s %-8.6g%s%s%s", figure->at_least ? ">=" : "<=", figure->goal,
                         !colours ? ""
                         : met    ? "\033[32m"
                                  : "\033[1;31m",
                         met ? "met" : "missed", colours ? "\033[0m" : "");
    }
    px_buffer_add_string(out, "\n");
}

static void add_line(struct px_buffer *out, const char *title, const struct bench_samples *samples)
{
    if (samples->count)
        px_buffer_printf(out, "%-42s%10.0f%10.0f%10.0f\n", title, samples->p50, samples->p90, samples->p99);
    else
        px_buffer_printf(out, "%-42s%10s\n", title, "-");
}

static void add_fleet(struct px_buffer *out, const struct bench_fleet *fleet)
{
    px_buffer_printf(out, "\nidle sessions: %zu, of %zu host process%s\n", fleet->opened, fleet->processes,
                     fleet->processes == 1 ? "" : "es");
    if (fleet->error.code != PYEXEC_OK)
        px_buffer_printf(out, "stopped: %s\nhint: %s\n", fleet->error.message, fleet->error.hint);
    if (!fleet->opened)
        return;
    px_buffer_printf(out, "%-42s", "opened per second, by tenths");
    for (int i = 0; i < BENCH_BLOCKS; i++)
        px_buffer_printf(out, "%*.0f", i ? 6 : 10, fleet->opened_by_block[i]);
    px_buffer_add_string(out, "\n");
    px_buffer_printf(out, "%-42s%10.0f\n%-42s%10.0f\n%-42s%10.0f\n", "memory of a host process, KiB",
                     fleet->host_rss_kib, "proportional (Pss) KiB of a session", fleet->memory.pss_kib,
                     "KiB that the machine loses per session", fleet->machine_kib);
}

void bench_add_table(struct px_buffer *out, const struct bench *bench)
{
    px_buffer_printf(out, "%-42s%10s%10s%10s\n", "microseconds", "p50", "p90", "p99");
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++)
        add_line(out, row_names[row].title, &bench->rows[row]);
    if (bench->fleet.wanted)
        add_line(out, "one call to each idle session", &bench->fleet.calls);
    px_buffer_add_string(out, "\nruns per second\n");
    for (int i = 0; i < BENCH_ZYGOTES_MAX; i++) {
        char title[64];
        snprintf(title, sizeof title, "%d zygote%s, %d threads", i + 1, i ? "s" : "", bench->threads);
        px_buffer_printf(out, "%-42s%10.0f\n", title, bench->runs_per_second[i]);
    }
    px_buffer_printf(out, "%-42s%10.0f\n", "the same without a pool", bench->runs_per_second_unpooled);
    if (bench->fleet.wanted)
        add_fleet(out, &bench->fleet);
    px_buffer_printf(out, "\n%-42s%10s  %s\n", "ratios (median of the rounds) and figures", "", "goal");
    struct figure figures[FIGURES_MAX];
    size_t count = gather(bench, figures);
    for (size_t i = 0; i < count; i++)
        add_figure(out, &figures[i]);
}

static json_t *goals_json(const struct bench *bench)
{
    struct figure figures[FIGURES_MAX];
    size_t count = gather(bench, figures);
    json_t *goals = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct figure *figure = &figures[i];
        json_t *goal = json_pack("{s:s, s:s}", "name", figure->key, "title", figure->title);
        if (figure->goal > 0)
            px_json_set(goal, figure->at_least ? "at_least" : "at_most", json_real(figure->goal));
        if (figure->why_not)
            px_json_set(goal, "not_measured", json_string(figure->why_not));
        px_json_set(goal, "figure", figure->why_not ? json_null() : json_real(figure->value));
        px_json_set(goal, "met", figure->why_not || !(figure->goal > 0) ? json_null() : json_boolean(is_met(figure)));
        px_json_append(goals, goal);
    }
    return goals;
}

static json_t *samples_json(const struct bench_samples *samples)
{
    return !samples->count
               ? json_null()
               : json_pack("{s:f, s:f, s:f}", "p50", samples->p50, "p90", samples->p90, "p99", samples->p99);
}

static json_t *rows_json(const struct bench *bench)
{
    json_t *rows = json_object();
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++)
        px_json_set(rows, row_names[row].key, samples_json(&bench->rows[row]));
    return rows;
}

static json_t *memory_json(const struct bench_memory *memory)
{
    return !memory->processes ? json_null()
                              : json_pack("{s:f, s:f}", "private", memory->private_kib, "pss", memory->pss_kib);
}

static json_t *fleet_json(const struct bench_fleet *fleet)
{
    if (!fleet->wanted)
        return json_null();
    json_t *blocks = json_array();
    for (int i = 0; i < BENCH_BLOCKS; i++)
        px_json_append(blocks, json_real(fleet->opened_by_block[i]));
    return json_pack("{s:I, s:I, s:I, s:o, s:f, s:o, s:f, s:f, s:f, s:o}", "wanted", (json_int_t)fleet->wanted,
                     "opened", (json_int_t)fleet->opened, "host_processes", (json_int_t)fleet->processes, "call_us",
                     samples_json(&fleet->calls), "opened_per_second", fleet->opened_per_second,
                     "opened_per_second_by_tenths", blocks, "idle_cpu_us_per_second", fleet->idle_cpu_us,
                     "host_rss_kib", fleet->host_rss_kib, "machine_kib", fleet->machine_kib, "kib",
                     memory_json(&fleet->memory));
}

static json_t *preloaded_json(const struct bench_preloaded *preloaded)
{
    if (preloaded->error.code != PYEXEC_OK)
        return json_null();
    return json_pack("{s:f, s:o}", "runs_per_second", preloaded->runs_per_second, "session_kib",
                     memory_json(&preloaded->session));
}

void bench_add_object(struct px_buffer *out, json_t *object)
{
    px_auto_free char *text = object ? px_json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(object);
    if (text)
        px_buffer_printf(out, "%s\n", text);
    else
        out->failed = true;
}

void bench_add_json(struct px_buffer *out, const struct bench *bench)
{
    struct utsname system = {0};
    uname(&system);
    json_t *object = json_pack(
        "{s:s, s:{s:s, s:I, s:s}, s:i, s:i, s:o, s:{s:f, s:f, s:f}, s:o, s:o, s:o, s:o}", "version", pyexec_version(),
        "machine", "kernel", system.release, "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "python", bench->python,
        "rounds", (int)bench->rounds, "threads", bench->threads, "us", rows_json(bench), "runs_per_second", "1_zygote",
        bench->runs_per_second[0], "2_zygotes", bench->runs_per_second[1], "2_zygotes_unpooled",
        bench->runs_per_second_unpooled, "waiting_child_kib", memory_json(&bench->waiting), "preloaded",
        preloaded_json(&bench->preloaded), "sessions", fleet_json(&bench->fleet), "goals", goals_json(bench));
    bench_add_object(out, object);
}
