/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring for `pyexec bench`. Compared things are measured in turns, round by round, so
 * that a noisy machine disturbs all of them alike. */
#ifndef PX_BENCH_BENCH_H
#define PX_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#include "base/buffer.h"
#include "cli/settings.h"
#include "pyexec.h"

enum bench_row {
    BENCH_PYTHON,
    BENCH_BUBBLEWRAP,
    BENCH_CLI,
    BENCH_FLOOR_CLONE,
    BENCH_FLOOR_NAMESPACES,
    BENCH_FLOOR_ROUND_TRIP,
    BENCH_FLOOR_FIRST_TRIP,
    BENCH_EXECUTE, /* without a pool */
    BENCH_POOLED,
    BENCH_SESSION,
    BENCH_ROW_COUNT
};

/* Microseconds. The samples of one round follow those of the round before. */
struct bench_samples {
    double *us;
    size_t count;
    double *round_p50; /* one per round, for ratios of things measured side by side */
    size_t rounds;
    double p50, p90, p99; /* over all, after bench_summarise */
};

/* Of the processes that run scripts below this one: medians, in KiB. */
struct bench_memory {
    size_t processes; /* 0: not measured */
    double private_kib, pss_kib;
};

/* Idle sessions, in as many processes as the limit of open files asks for. */
struct bench_fleet {
    size_t wanted, opened, processes;
    double opened_per_second;
    double idle_cpu_us;  /* per second, of the hosts and all below them */
    double host_rss_kib; /* of one host */
    double machine_kib;  /* that the machine has less per session, the kernel's part included */
    struct bench_memory memory;
    struct bench_samples calls; /* one to each, one after another */
    pyexec_error error;         /* what ended it early; code PYEXEC_OK when nothing did */
};

/* With numpy and pandas preloaded. */
struct bench_preloaded {
    double runs_per_second;
    struct bench_memory session;
    pyexec_error error; /* why it was not measured; code PYEXEC_OK when it was */
};

#define BENCH_ZYGOTES_MAX 2

struct bench {
    struct bench_samples rows[BENCH_ROW_COUNT];
    double runs_per_second[BENCH_ZYGOTES_MAX]; /* with 1 and 2 zygotes */
    struct bench_memory waiting;
    struct bench_preloaded preloaded;
    struct bench_fleet fleet;
    int threads;
    size_t rounds;
    bool has_bubblewrap;
    char *python; /* the real executable */
};

/* How much to measure. */
struct bench_plan {
    size_t rounds;
    size_t programs;    /* starts of each program per round */
    size_t runs;        /* execute_once per round */
    int floors;         /* iterations of each floor per round */
    int seconds_tenths; /* of sustained load, per number of zygotes */
    size_t sessions;    /* idle ones */
    int idle_tenths;    /* seconds that they are left alone */
};

int bench_run(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
              pyexec_error *error);
void bench_done(struct bench *bench);

int bench_samples_add(struct bench_samples *samples, double us, pyexec_error *error);
/* Ends a round that began at sample `from`. */
int bench_samples_end_round(struct bench_samples *samples, size_t from, pyexec_error *error);
void bench_samples_summarise(struct bench_samples *samples);
void bench_samples_done(struct bench_samples *samples);
/* The percentile by nearest rank; 0 of nothing. */
double bench_percentile(const double *items, size_t count, double percent);

/* Median over the rounds of a's p50 divided by b's; 0 when either has none. */
double bench_ratio(const struct bench_samples *a, const struct bench_samples *b);

/* An executor with these settings but for the number of zygotes, the pool (0: none) and, when
 * given, keys of the policy; any number of sessions. */
int bench_new_executor(const struct cli_settings *settings, int64_t zygotes, bool pool, const json_t *policy_changes,
                       pyexec_executor **ret, pyexec_error *error);

/* A request to evaluate 1+1; NULL with an error. */
pyexec_request *bench_request(pyexec_error *error);

/* One call, in the session when there is one; microseconds. A result that is not ok is an error. */
int bench_call(pyexec_executor *executor, const char *session, pyexec_request *request, double *ret_us,
               pyexec_error *error);

/* Runs of 1+1 per second on `threads` threads, sustained for so long. */
int bench_load(pyexec_executor *executor, int threads, int tenths, double *ret, pyexec_error *error);

/* Opens plan->sessions sessions, leaves them idle, and calls each. Forks: no other thread may be
 * running. What stops it is left in fleet->error. */
void bench_fleet_run(struct bench_fleet *fleet, const struct bench_plan *plan, const struct cli_settings *settings);

/* The memory of the processes below this one that run scripts. */
void bench_memory_take(struct bench_memory *ret);

/* The process ids of all below this one, to be freed; NULL with *ret_count 0 when there are none. */
pid_t *bench_processes_below(size_t *ret_count);

/* A number of kB after "key" in a file of /proc, or 0. */
double bench_proc_kib(const char *path, const char *key);

void bench_add_table(struct px_buffer *out, const struct bench *bench);
void bench_add_json(struct px_buffer *out, const struct bench *bench);

/* The medians as an SVG. `peers` are figures of others from elsewhere: a list of {"group": "fresh" or "session",
 * "title", "us"}, or NULL. */
int bench_add_svg(struct px_buffer *out, const struct bench *bench, const json_t *peers, pyexec_error *error);

const char *bench_row_title(enum bench_row row);

#endif
