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
#include "cli/commands.h"
#include "cli/print.h"

#define SESSIONS_MAX 100000

struct bench_options {
    bool json;
    bool quick;
    const char *sessions;
    const char *plot;
    const char *peers;
};

static const struct cli_option bench_rows[] = {
    {"json", 0, NULL, "Print the figures as JSON.", CLI_INTO(struct bench_options, json)},
    {"quick", 0, NULL, "Measure for a few seconds only.", CLI_INTO(struct bench_options, quick)},
    {"sessions", 0, "COUNT", "Idle sessions to open and call (default: 1000; 0: none). 10000 take about 10 GB.",
     CLI_INTO(struct bench_options, sessions)},
    {"plot", 0, "FILE", "Also draw the medians, as an SVG.", CLI_INTO(struct bench_options, plot)},
    {"peers", 0, "FILE", "Results of other programs, to draw beside pyexec's (JSON, made by bench/peers.py).",
     CLI_INTO(struct bench_options, peers)},
};

static const struct bench_plan full_plan = {
    .rounds = 10, .programs = 3, .runs = 60, .floors = 100, .seconds_tenths = 20, .sessions = 1000, .idle_tenths = 20};
static const struct bench_plan quick_plan = {
    .rounds = 3, .programs = 3, .runs = 20, .floors = 30, .seconds_tenths = 5, .sessions = 50, .idle_tenths = 5};

static int set_sessions(struct bench_plan *plan, const char *text, pyexec_error *error)
{
    char *end;
    unsigned long count = text ? strtoul(text, &end, 10) : plan->sessions;
    if (text && (text[0] < '0' || text[0] > '9' || *end || count > SESSIONS_MAX)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--sessions: '%s' is not a number of sessions", text);
        return px_error_hint(error, "Give a number from 0 to %d.", SESSIONS_MAX);
    }
    plan->sessions = count;
    return 0;
}

/* Errors of the files are reported before the measurement, which takes twenty seconds, and not after it. */
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

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct bench_options *options = target;
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
                   "same way. Then it measures runs per second, many idle sessions, and memory. Takes about 20 "
                   "seconds.",
    .options = bench_rows,
    .option_count = PX_COUNT(bench_rows),
    .options_size = sizeof(struct bench_options),
    .policy_flags = true,
    .run = run,
};
