/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements of `pyexec bench`. Things that are compared are measured in turns, round by round, so that a busy
 * machine slows down all of them alike. */
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
    BENCH_POOLED_FILES, /* the script may use files */
    BENCH_SESSION,      /* one call after another */
    BENCH_SESSION_IDLE, /* 3 ms after the last call */
    BENCH_OUTPUT,       /* a run that prints 100 MB */
    BENCH_ROW_COUNT
};

/* Times in microseconds, round after round. */
struct bench_samples {
    double *us;
    size_t count;
    double *round_p50; /* one for each round, for ratios within a round */
    size_t rounds;
    double p50, p90, p99; /* percentiles of all samples; set by bench_summarise */
};

/* Medians, in KiB, of the processes below this one that run scripts. */
struct bench_memory {
    size_t processes; /* 0: not measured */
    double private_kib, pss_kib;
};

#define BENCH_BLOCKS 10

/* Idle sessions. They are in several processes when the limit of open files is too low for one. */
struct bench_fleet {
    size_t wanted, opened, processes;
    double opened_per_second;
    double opened_by_block[BENCH_BLOCKS]; /* the same for the first tenth of the sessions, the second, … */
    double idle_cpu_us;                   /* for each second: CPU time of the hosts and all processes below them */
    double host_rss_kib;                  /* resident memory of one host */
    double machine_kib; /* how much available memory the machine loses for each session, including the kernel's part */
    struct bench_memory memory;
    struct bench_samples calls; /* one call to each session, one after another */
    pyexec_error error;         /* why it ended early; code PYEXEC_OK when it did not */
};

/* Measured with numpy and pandas preloaded. */
struct bench_preloaded {
    double runs_per_second;
    struct bench_memory session;
    pyexec_error error; /* why it was not measured; code PYEXEC_OK when it was */
};

#define BENCH_ZYGOTES_MAX 2

struct bench {
    struct bench_samples rows[BENCH_ROW_COUNT];
    double runs_per_second[BENCH_ZYGOTES_MAX]; /* from the pool, with 1 and 2 zygotes */
    double runs_per_second_unpooled;           /* without a pool, with 2 zygotes */
    struct bench_memory waiting;
    struct bench_preloaded preloaded;
    struct bench_fleet fleet;
    int threads;
    size_t rounds;
    bool has_bubblewrap;
    char *python; /* path of the real executable */
};

/* The number of measurements. */
struct bench_plan {
    size_t rounds;
    size_t programs;    /* starts of each program in a round */
    size_t runs;        /* execute_once in a round */
    size_t outputs;     /* runs with 100 MB of output, in all */
    int floors;         /* iterations of each baseline in a round */
    int seconds_tenths; /* tenths of seconds of load, for each kind of load */
    int load_turns;     /* how often the loads with and without a pool take turns in that time */
    size_t sessions;    /* idle sessions */
    int idle_tenths;    /* tenths of seconds in which they get no call */
};

int bench_run(struct bench *bench, const struct bench_plan *plan, const struct cli_settings *settings,
              pyexec_error *error);
void bench_done(struct bench *bench);

int bench_samples_add(struct bench_samples *samples, double us, pyexec_error *error);
/* Ends a round that began at sample `from`. Returns 0, or -1 with `error`. */
int bench_samples_end_round(struct bench_samples *samples, size_t from, pyexec_error *error);
void bench_samples_summarise(struct bench_samples *samples);
void bench_samples_done(struct bench_samples *samples);
/* Returns the percentile by the nearest-rank method; 0 when there are no items. */
double bench_percentile(const double *items, size_t count, double percent);

/* Divides a's p50 by b's in each round and returns the median of these ratios; 0 when a or b has no rounds. */
double bench_ratio(const struct bench_samples *a, const struct bench_samples *b);

/* Makes an executor with these settings, but with this number of zygotes, with or without a pool, with these
 * changes of the policy (NULL: none), and without a limit of sessions. Returns 0, or -1 with `error`. */
int bench_new_executor(const struct cli_settings *settings, int64_t zygotes, bool pool, const json_t *policy_changes,
                       pyexec_executor **ret, pyexec_error *error);

/* Finds the real interpreter, so that the time of a launcher script does not count as Python's. The caller frees it. */
int bench_find_python(char **ret, const struct cli_settings *settings, pyexec_error *error);

/* Returns a request to run this code, or to evaluate 1+1, or NULL with `error`. */
pyexec_request *bench_request_code(const char *code, pyexec_error *error);
pyexec_request *bench_request(pyexec_error *error);

/* Makes one call, in the session if `session` is not NULL, and measures it in microseconds. A result that is not
 * ok is an error: returns -1. */
int bench_call(pyexec_executor *executor, const char *session, pyexec_request *request, double *ret_us,
               pyexec_error *error);

/* Measures runs of 1+1 per second on `threads` threads, for `tenths` tenths of a second. `sessions`: calls, by each
 * thread in a session of its own. */
int bench_load(pyexec_executor *executor, bool sessions, int threads, int tenths, double *ret, pyexec_error *error);

/* Opens plan->sessions sessions, leaves them idle, and then calls each. This forks, so no other thread may be
 * running. An error is in fleet->error afterwards. */
void bench_fleet_run(struct bench_fleet *fleet, const struct bench_plan *plan, const struct cli_settings *settings);

/* Measures the memory of the processes below this one that run scripts. */
void bench_memory_take(struct bench_memory *ret);

/* Returns the process ids of all processes below this one, which the caller frees; NULL with *ret_count 0 when
 * there are none. */
pid_t *bench_processes_below(size_t *ret_count);

/* Returns the number of kB after `key` in a file of /proc, or 0. */
double bench_proc_kib(const char *path, const char *key);

void bench_add_table(struct px_buffer *out, const struct bench *bench);
void bench_add_json(struct px_buffer *out, const struct bench *bench);

/* Adds the object as one line, and releases it. NULL, or no memory, marks the buffer as failed. */
void bench_add_object(struct px_buffer *out, json_t *object);

/* Appends the medians as an SVG. `peers` are measured times of other programs: a list of {"group": "fresh" or
 * "session", "title", "us"}, or NULL. */
int bench_add_svg(struct px_buffer *out, const struct bench *bench, const json_t *peers, pyexec_error *error);

const char *bench_row_title(enum bench_row row);

#endif
