/* pyexec bench: this machine's floors, our figures, and the ratios that DESIGN.md asks for. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/report.h"

struct bench_options {
    bool json;
    bool quick;
};

static const struct cli_option bench_rows[] = {
    {"json", 0, NULL, "Print the figures as JSON, in microseconds.",
     CLI_INTO(struct bench_options, json)},
    {"quick", 0, NULL, "Measure for a few seconds only.", CLI_INTO(struct bench_options, quick)},
};

static const struct bench_plan full_plan = {.rounds = 10, .programs = 4, .runs = 60,
                                            .floors = 100, .seconds_tenths = 30};
static const struct bench_plan quick_plan = {.rounds = 3, .programs = 3, .runs = 20,
                                             .floors = 30, .seconds_tenths = 5};

static const struct {
    const char *key;
    const char *title;
} row_names[BENCH_ROW_COUNT] = {
    [BENCH_PYTHON] = {"python", "python3 -I -S -c pass, start to exit"},
    [BENCH_BUBBLEWRAP] = {"bubblewrap", "bubblewrap + the same"},
    [BENCH_CLI] = {"cli", "pyexec run -c 1+1, cold"},
    [BENCH_FLOOR_CLONE] = {"floor_clone", "floor: clone of the warm interpreter"},
    [BENCH_FLOOR_NAMESPACES] = {"floor_clone_namespaces", "floor: the same with namespaces"},
    [BENCH_FLOOR_ROUND_TRIP] = {"floor_socket_round_trip", "floor: socket round trip, 1+1"},
    [BENCH_EXECUTE] = {"execute_once", "execute_once of 1+1, unpooled"},
    [BENCH_POOLED] = {"execute_once_pooled", "execute_once of 1+1, pooled"},
    [BENCH_SESSION] = {"session", "execute of 1+1 in a session"},
};

/* Ratios that must not be above their goal. */
static const struct {
    const char *key;
    const char *title;
    enum bench_row figure, floor;
    double goal;
} ratio_goals[] = {
    {"execute_to_clone_namespaces", "unpooled / clone with namespaces", BENCH_EXECUTE,
     BENCH_FLOOR_NAMESPACES, 1.3},
    {"pooled_to_round_trip", "pooled / socket round trip", BENCH_POOLED, BENCH_FLOOR_ROUND_TRIP, 1.5},
    {"session_to_round_trip", "session / socket round trip", BENCH_SESSION, BENCH_FLOOR_ROUND_TRIP,
     1.3},
    {"cli_to_python", "cold command line / python3", BENCH_CLI, BENCH_PYTHON, 2.0},
};
#define RUNS_PER_SECOND_GOAL 1200.0

static double best_rate(const struct bench *bench)
{
    double best = 0;
    for (int i = 0; i < BENCH_ZYGOTES_MAX; i++)
        if (bench->runs_per_second[i] > best)
            best = bench->runs_per_second[i];
    return best;
}

static void add_goal(struct px_buffer *out, const char *title, const char *sign, double figure,
                     double goal, bool met)
{
    bool colours = cli_colours();
    px_buffer_printf(out, "%-40s%10.2f  %s %-8.6g%s%s%s\n", title, figure, sign, goal,
                     !colours ? "" : met ? "\033[32m" : "\033[1;31m", met ? "met" : "missed",
                     colours ? "\033[0m" : "");
}

static void add_table(struct px_buffer *out, const struct bench *bench)
{
    px_buffer_printf(out, "%-40s%10s%10s%10s\n", "microseconds", "p50", "p90", "p99");
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++) {
        const struct bench_samples *samples = &bench->rows[row];
        if (samples->count)
            px_buffer_printf(out, "%-40s%10.0f%10.0f%10.0f\n", row_names[row].title,
                             samples->p50, samples->p90, samples->p99);
        else
            px_buffer_printf(out, "%-40s%10s\n", row_names[row].title, "-");
    }
    px_buffer_add_string(out, "\nruns per second\n");
    for (int i = 0; i < BENCH_ZYGOTES_MAX; i++) {
        char title[64];
        snprintf(title, sizeof title, "%d zygote%s, %d threads", i + 1, i ? "s" : "",
                 bench->threads);
        px_buffer_printf(out, "%-40s%10.0f\n", title, bench->runs_per_second[i]);
    }
    px_buffer_printf(out, "\n%-40s%10s  %s\n", "ratio (median of the rounds)", "", "goal");
    for (size_t i = 0; i < PX_COUNT(ratio_goals); i++) {
        double ratio = bench_ratio(&bench->rows[ratio_goals[i].figure],
                                   &bench->rows[ratio_goals[i].floor]);
        add_goal(out, ratio_goals[i].title, "<=", ratio, ratio_goals[i].goal,
                 ratio > 0 && ratio <= ratio_goals[i].goal);
    }
    add_goal(out, "runs per second", ">=", best_rate(bench), RUNS_PER_SECOND_GOAL,
             best_rate(bench) >= RUNS_PER_SECOND_GOAL);
}

static json_t *goals_json(const struct bench *bench)
{
    json_t *goals = json_array();
    for (size_t i = 0; i < PX_COUNT(ratio_goals); i++) {
        double ratio = bench_ratio(&bench->rows[ratio_goals[i].figure],
                                   &bench->rows[ratio_goals[i].floor]);
        json_array_append_new(goals, json_pack("{s:s, s:f, s:f, s:b}", "name", ratio_goals[i].key,
                                               "figure", ratio, "at_most", ratio_goals[i].goal,
                                               "met", ratio > 0 && ratio <= ratio_goals[i].goal));
    }
    json_array_append_new(goals, json_pack("{s:s, s:f, s:f, s:b}", "name", "runs_per_second",
                                           "figure", best_rate(bench), "at_least",
                                           RUNS_PER_SECOND_GOAL, "met",
                                           best_rate(bench) >= RUNS_PER_SECOND_GOAL));
    return goals;
}

static json_t *figures_json(const struct bench *bench)
{
    json_t *figures = json_object();
    for (enum bench_row row = 0; row < BENCH_ROW_COUNT; row++) {
        const struct bench_samples *samples = &bench->rows[row];
        json_object_set_new(figures, row_names[row].key,
                            !samples->count ? json_null()
                                            : json_pack("{s:f, s:f, s:f}", "p50", samples->p50,
                                                        "p90", samples->p90, "p99", samples->p99));
    }
    return figures;
}

static void add_json(struct px_buffer *out, const struct bench *bench)
{
    struct utsname system = {0};
    uname(&system);
    json_t *object = json_pack(
        "{s:s, s:{s:s, s:I, s:s}, s:i, s:i, s:o, s:{s:f, s:f}, s:o}", "version", pyexec_version(),
        "machine", "kernel", system.release, "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
        "python", bench->python, "rounds", (int)bench->rounds, "threads", bench->threads, "us",
        figures_json(bench), "runs_per_second", "1_zygote", bench->runs_per_second[0],
        "2_zygotes", bench->runs_per_second[1], "goals", goals_json(bench));
    px_auto_free char *text =
        object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(object);
    if (text)
        px_buffer_printf(out, "%s\n", text);
    else
        out->failed = true;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct bench_options *options = target;
    pyexec_error error;
    px_auto(bench_done) struct bench bench = {0};
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    if (cli_settings_load(&settings, arguments, &error) < 0 ||
        bench_run(&bench, options->quick ? &quick_plan : &full_plan, &settings, &error) < 0)
        return cli_fail(&error);
    px_auto_buffer struct px_buffer out = {0};
    if (options->json)
        add_json(&out, &bench);
    else
        add_table(&out, &bench);
    return cli_print(&out);
}

const struct cli_command cmd_bench = {
    .name = "bench",
    .summary = "this machine's floors, pyexec's figures and the ratios",
    .description =
        "Measures in one run what starting Python costs here, what the kernel takes for a "
        "process with a run's namespaces, and what pyexec takes, in turns, so that a noisy "
        "machine disturbs all alike. Takes about 15 seconds.",
    .options = bench_rows,
    .option_count = PX_COUNT(bench_rows),
    .options_size = sizeof(struct bench_options),
    .policy_flags = true,
    .run = run,
};
