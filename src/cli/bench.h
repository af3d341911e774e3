/* Measuring for `pyexec bench`. Compared things are measured in turns, round by round, so
 * that a noisy machine disturbs all of them alike. */
#ifndef PX_CLI_BENCH_H
#define PX_CLI_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/settings.h"
#include "pyexec.h"

enum bench_row {
    BENCH_PYTHON,
    BENCH_BUBBLEWRAP,
    BENCH_CLI,
    BENCH_FLOOR_CLONE,
    BENCH_FLOOR_NAMESPACES,
    BENCH_FLOOR_ROUND_TRIP,
    BENCH_EXECUTE,          /* without a pool */
    BENCH_POOLED,
    BENCH_SESSION,
    BENCH_ROW_COUNT
};

/* Microseconds. The samples of one round follow those of the round before. */
struct bench_samples {
    double *us;
    size_t count;
    double *round_p50;      /* one per round, for ratios of things measured side by side */
    size_t rounds;
    double p50, p90, p99;   /* over all, after bench_summarise */
};

#define BENCH_ZYGOTES_MAX 2

struct bench {
    struct bench_samples rows[BENCH_ROW_COUNT];
    double runs_per_second[BENCH_ZYGOTES_MAX];  /* with 1 and 2 zygotes */
    int threads;
    size_t rounds;
    bool has_bubblewrap;
    char *python;           /* the real executable */
};

/* How much to measure. */
struct bench_plan {
    size_t rounds;
    size_t programs;        /* starts of each program per round */
    size_t runs;            /* execute_once per round */
    int floors;             /* iterations of each floor per round */
    int seconds_tenths;     /* of sustained load, per number of zygotes */
};

int bench_run(struct bench *bench, const struct bench_plan *plan,
              const struct cli_settings *settings, pyexec_error *error);
void bench_done(struct bench *bench);

int bench_samples_add(struct bench_samples *samples, double us, pyexec_error *error);
/* Ends a round that began at sample `from`. */
int bench_samples_end_round(struct bench_samples *samples, size_t from, pyexec_error *error);
void bench_samples_summarise(struct bench_samples *samples);

/* Median over the rounds of a's p50 divided by b's; 0 when either has none. */
double bench_ratio(const struct bench_samples *a, const struct bench_samples *b);

/* Runs of 1+1 per second on `threads` threads, sustained for so long. */
int bench_load(pyexec_executor *executor, int threads, int tenths, double *ret,
               pyexec_error *error);

#endif
