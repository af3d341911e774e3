/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec bench: this machine's baselines, the times of pyexec, and the ratios between them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "bench/bench.h"
#include "bench/bench_half_load.h"
#include "cli/commands.h"
#include "cli/print.h"

#define SESSIONS_MAX 100000
#define HALF_LOAD_SECONDS_MAX 86400

struct bench_options {
    bool json;
    bool quick;
    const char *sessions;
    const char *half_load;
    const char *plot;
    const char *peers;
};

static const struct cli_option bench_rows[] = {
    {"json", 0, NULL, "Print the figures as JSON.", CLI_INTO(struct bench_options, json)},
    {"quick", 0, NULL, "Measure for a few seconds only.", CLI_INTO(struct bench_options, quick)},
    {"sessions", 0, "COUNT", "Idle sessions to open and call (default: 1000; 0: none). 10000 take about 10 GB.",
     CLI_INTO(struct bench_options, sessions)},
    {"half-load", 0, "SECONDS",
     "Measure only this: how long runs and calls of sessions take at half of the rate that the machine sustains, for "
     "SECONDS seconds each.",
     CLI_INTO(struct bench_options, half_load)},
    {"plot", 0, "FILE", "Also draw the medians, as an SVG.", CLI_INTO(struct bench_options, plot)},
    {"peers", 0, "FILE", "Results of other programs, to draw beside pyexec's (JSON, made by bench/peers.py).",
     CLI_INTO(struct bench_options, peers)},
};

static const struct bench_plan full_plan = {.rounds = 10,
                                            .programs = 3,
                                            .runs = 60,
                                            .outputs = 5,
                                            .floors = 100,
                                            .seconds_tenths = 20,
                                            .load_turns = 4,
                                            .sessions = 1000,
                                            .idle_tenths = 20};
static const struct bench_plan quick_plan = {.rounds = 3,
                                             .programs = 3,
                                             .runs = 20,
                                             .outputs = 1,
                                             .floors = 30,
                                             .seconds_tenths = 5,
                                             .load_turns = 1,
                                             .sessions = 50,
                                             .idle_tenths = 5};

/* Returns the number, or -1 with `error`. */
static long read_number(const char *option, const char *what, const char *text, long minimum, long maximum,
                        pyexec_error *error)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && number >= minimum && number <= maximum)
        return number;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--%s: '%s' is not a number of %s", option, text, what);
    px_error_hint(error, "Give a number from %ld to %ld.", minimum, maximum);
    return -1;
}

static int set_sessions(struct bench_plan *plan, const char *text, pyexec_error *error)
{
    long count = text ? read_number("sessions", "sessions", text, 0, SESSIONS_MAX, error) : (long)plan->sessions;
    plan->sessions = (size_t)count;
    return count < 0 ? -1 : 0;
}

/* Errors of the files are reported before the measurement, which takes thirty seconds, and not after it. */
static int open_plot(const struct bench_options *options, int *ret_fd, json_t **ret_peers, pyexec_error *error)
{
    static const struct bench nothing;
    px_auto_buffer struct px_buffer unused = {0};
    json_error_t problem;
    if (options->peers && !options->plot) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--peers is given without --plot");
        return px_error_hint(error, "Add --plot FILE: the picture is written there.");
    }
    if (options->peers && !(*ret_peers = json_load_file(options->peers, 0, &problem))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--peers %s: %s", options->peers, problem.text);
        return px_error_hint(error, "bench/peers.py --plot makes such a file.");
    }
    if (bench_add_svg(&unused, &nothing, *ret_peers, error) < 0)
        return -1;
    if (options->plot && (*ret_fd = px_open(options->plot, O_WRONLY | O_CREAT | O_CLOEXEC, 0666)) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--plot: can't write %s", options->plot);
        return px_error_hint(error, "Use a path in an existing, writable directory.");
    }
    return 0;
}

static int write_plot(int fd, const struct bench *bench, const json_t *peers, pyexec_error *error)
{
    px_auto_buffer struct px_buffer svg = {0};
    if (fd < 0)
        return 0;
    if (bench_add_svg(&svg, bench, peers, error) < 0)
        return -1;
    /* A FIFO or a terminal can't be truncated, and it need not be. */
    if (px_write_all(fd, svg.data, svg.length) < 0 || (px_ftruncate(fd, (off_t)svg.length) < 0 && errno != EINVAL)) {
        px_error_errno(error, PYEXEC_INTERNAL, errno, "--plot: can't write");
        return px_error_hint(error, "Free space on that file system, or name a file elsewhere.");
    }
    return 0;
}

static int run_half_load(const struct cli_arguments *arguments, const struct bench_options *options)
{
    static struct bench_half_load half_load; /* its histograms are larger than a stack should hold */
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    px_auto_buffer struct px_buffer out = {0};
    if (options->sessions || options->plot) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "--half-load is given with --%s",
                     options->sessions ? "sessions" : "plot");
        px_error_hint(&error, "--half-load measures nothing else: use two commands.");
        return cli_fail(&error);
    }
    long seconds = read_number("half-load", "seconds", options->half_load, 1, HALF_LOAD_SECONDS_MAX, &error);
    if (seconds < 0 || cli_settings_load(&settings, arguments, &error) < 0)
        return cli_fail(&error);
    int result =
        bench_half_load_run(&half_load, (int)seconds, options->quick ? &quick_plan : &full_plan, &settings, &error);
    if (result == 0)
        (options->json ? bench_half_load_add_json : bench_half_load_add_table)(&out, &half_load);
    bench_half_load_done(&half_load);
    return result < 0 ? cli_fail(&error) : cli_print(&out);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct bench_options *options = target;
    if (options->half_load)
        return run_half_load(arguments, options);
    pyexec_error error;
    px_auto(bench_done) struct bench bench = {0};
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    px_auto_json json_t *peers = NULL;
    px_auto_fd int plot = -1;
    struct bench_plan plan = options->quick ? quick_plan : full_plan;
    if (set_sessions(&plan, options->sessions, &error) < 0 || open_plot(options, &plot, &peers, &error) < 0 ||
        cli_settings_load(&settings, arguments, &error) < 0 || bench_run(&bench, &plan, &settings, &error) < 0 ||
        write_plot(plot, &bench, peers, &error) < 0)
        return cli_fail(&error);
    px_auto_buffer struct px_buffer out = {0};
    if (options->json)
        bench_add_json(&out, &bench);
    else
        bench_add_table(&out, &bench);
    return cli_print(&out);
}

const struct cli_command cmd_bench = {
    .name = "bench",
    .summary = "this machine's floors, pyexec's figures and the ratios",
    .description = "Measures the start of Python, the kernel's time for a process with the namespaces of a run, and "
                   "pyexec's time. It measures them in turns, so that a noisy machine disturbs all of them in the "
                   "same way. Then it measures runs per second, many idle sessions, and memory. Takes about 30 "
                   "seconds.",
    .options = bench_rows,
    .option_count = PX_COUNT(bench_rows),
    .options_size = sizeof(struct bench_options),
    .policy_flags = true,
    .run = run,
};
