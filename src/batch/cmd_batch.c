/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec batch run: many tasks from a file, in this program, at a server or in a fleet (docs/batch.md). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/processors.h"
#include "base/retry.h"
#include "batch/batch_gateway.h"
#include "batch/batch_progress.h"
#include "batch/batch_work.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/handles.h"
#include "cli/nats_command.h"
#include "cli/print.h"
#include "cli/server_heap.h"
#include "cli/settings.h"

#define CONCURRENCY_MAX 1000
#define CONCURRENCY_REMOTE 32
#define COPY_BYTES 65536

struct batch_options {
    const char *output, *concurrency, *server, *token_file;
    struct cli_nats_flags nats;
    bool retry_lost, quiet;
};

static const struct cli_option rows[] = {
    {"output", 'o', "FILE",
     "The results, a JSON line for each. If it exists, the batch continues. Default: TASKS with .results.jsonl in place of .jsonl.",
     CLI_INTO(struct batch_options, output)},
    {"concurrency", 0, "NUMBER",
     "Tasks in progress at once, 1 to 1000. Default: [host] max_concurrent, or two for each CPU; 32 with --server or --nats.",
     CLI_INTO(struct batch_options, concurrency)},
    {"server", 0, "ADDRESS",
     "Run them at a `pyexec serve`: unix:/PATH, http://HOST:PORT, or default; none: in this program.",
     CLI_INTO(struct batch_options, server)},
    {"token-file", 0, "FILE", "The token for that server.", CLI_INTO(struct batch_options, token_file)},
    CLI_NATS_OPTION(struct batch_options, nats.urls),
    CLI_CREDS_OPTION(struct batch_options, nats.creds),
    {"retry-lost", 0, NULL, "Also run the tasks again that may have run, but whose results are lost.",
     CLI_INTO(struct batch_options, retry_lost)},
    {"quiet", 'q', NULL, "Say only errors.", CLI_INTO(struct batch_options, quiet)},
};

/* ---- The command line ---- */

static int check_operands(const struct cli_list *operands, pyexec_error *error)
{
    if (!operands->count || strcmp(operands->items[0], "run") != 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST,
                     operands->count ? "batch: unknown subcommand '%.100s'" : "batch: no subcommand given",
                     operands->count ? operands->items[0] : "");
        return px_error_hint(error, "Write `pyexec batch run tasks.jsonl`.");
    }
    if (operands->count == 2)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "batch run: no file of tasks given");
    return px_error_hint(error, "Write `pyexec batch run tasks.jsonl`, or - for standard input.");
}

static int name_output(const struct batch_options *options, const char *tasks, char **ret, pyexec_error *error)
{
    static const char ending[] = ".jsonl";
    size_t length = strlen(tasks), tail = sizeof ending - 1;
    if (!options->output && strcmp(tasks, "-") == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--output: it is needed with tasks from standard input");
        return px_error_hint(error, "Give for example --output results.jsonl.");
    }
    if (length > tail && strcmp(tasks + length - tail, ending) == 0)
        length -= tail;
    if (options->output)
        *ret = strdup(options->output);
    else if (asprintf(ret, "%.*s.results.jsonl", (int)length, tasks) < 0)
        *ret = NULL;
    return *ret ? 0 : px_error_oom(error);
}

static int read_concurrency(const struct batch_options *options, bool remote, const struct px_host *host, size_t *ret,
                            pyexec_error *error)
{
    const char *text = options->concurrency;
    if (!text) {
        int64_t turns = remote ? CONCURRENCY_REMOTE : px_turns_for(host->max_concurrent);
        *ret = turns < CONCURRENCY_MAX ? (size_t)turns : CONCURRENCY_MAX;
        return 0;
    }
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (number >= 1 && number <= CONCURRENCY_MAX && end > text && !*end) {
        *ret = (size_t)number;
        return 0;
    }
    if (!text) {
        *ret = CONCURRENCY_MAX;
        return 0;
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--concurrency: '%.100s' is not a number from 1 to %d", text,
                 CONCURRENCY_MAX);
    return px_error_hint(error, "Give for example --concurrency 16.");
}

static int check_place(const struct batch_options *options, pyexec_error *error)
{
    if (!options->nats.urls.count || !options->server)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--nats: the tasks run at one place, and --server names another one");
    return px_error_hint(error, "Give one of the two.");
}

/* ---- The file of tasks ---- */

/* What can't be read twice is copied to a file without a name, in the folder of the results. */
static int copy_tasks(int from, const char *output, pyexec_error *error)
{
    char block[COPY_BYTES];
    px_auto_free char *path = NULL;
    px_auto_fd int to = asprintf(&path, "%s.tasks-XXXXXX", output) < 0 ? -1 : mkostemp(path, O_CLOEXEC);
    if (to < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't make a file in the folder of '%s'", output);
        return px_error_hint(error, "Give an --output in a folder where you may write.");
    }
    unlink(path);
    ssize_t n = -1;
    while ((n = px_read(from, block, sizeof block)) > 0)
        if (px_write_all(to, block, (size_t)n) < 0) {
            px_error_errno(error, PYEXEC_INTERNAL, errno, "can't copy the tasks to the folder of '%s'", output);
            return px_error_hint(error, "Free some space, or write the tasks into a file.");
        }
    if (n == 0)
        return TAKE_FD(to);
    px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't read the tasks");
    return px_error_hint(error, "Write them into a file.");
}

static int open_tasks(const char *path, const char *output, pyexec_error *error)
{
    struct stat info;
    px_auto_fd int opened = strcmp(path, "-") == 0 ? -1 : px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : opened;
    if (fd < 0 || fstat(fd, &info) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't open '%s'", path);
        return px_error_hint(error, "Give a file with one task on each line: {\"id\": \"a\", \"code\": \"6 * 7\"}.");
    }
    if (S_ISDIR(info.st_mode)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s' is a folder", path);
        return px_error_hint(error, "Give a file with one task on each line, or - for standard input.");
    }
    if (fd == opened && S_ISREG(info.st_mode))
        return TAKE_FD(opened);
    return copy_tasks(fd, output, error);
}

/* ---- While it runs ---- */

struct batch {
    const struct batch_options *options;
    struct batch_store store;
    struct batch_work work;
    struct batch_progress progress;
    struct batch_gateway gateway;
    int tasks, signals, wake;
    int signal; /* the first one */
};

static void take_signal(struct batch *batch)
{
    struct signalfd_siginfo info;
    char text[200];
    size_t left;
    if (px_read(batch->signals, &info, sizeof info) != sizeof info)
        return;
    bool again = batch->signal;
    struct batch_counts counts = batch_work_counts(&batch->work, &left);
    batch_work_stop(&batch->work, again);
    if (!again)
        batch->signal = (int)info.ssi_signo;
    if (again)
        snprintf(text, sizeof text, "ending the %llu tasks in progress", (unsigned long long)counts.running);
    else
        snprintf(text, sizeof text, "no new tasks; waiting for %llu in progress", (unsigned long long)counts.running);
    batch_progress_say(&batch->progress, true, text, again ? NULL : "Press Ctrl-C again to end them too.");
}

static struct batch_counts follow(struct batch *batch)
{
    size_t left;
    pyexec_error error;
    struct batch_counts counts = batch_work_counts(&batch->work, &left);
    while (left) {
        struct pollfd polled[] = {{.fd = batch->signals, .events = POLLIN},
                                  {.fd = batch->wake, .events = POLLIN},
                                  {.fd = batch->gateway.log, .events = POLLIN}};
        (void)!px_poll(polled, PX_COUNT(polled), batch_progress_wait_ms(&batch->progress));
        if (polled[0].revents)
            take_signal(batch);
        if (polled[1].revents)
            px_wake_take(batch->wake);
        if (polled[2].revents && batch_gateway_read(&batch->gateway, &error) < 0)
            batch_work_fail(&batch->work, &error);
        counts = batch_work_counts(&batch->work, &left);
        batch_progress_show(&batch->progress, &counts);
    }
    for (size_t i = 0; i < batch->work.seat_count; i++)
        pthread_join(batch->work.seats[i].thread, NULL);
    return counts;
}

static void say_start(struct batch *batch)
{
    const struct batch_store *store = &batch->store;
    const struct batch_counts *counts = &batch->work.counts;
    char text[300];
    if (store->cut)
        batch_progress_say(&batch->progress, false,
                           "a kill left an incomplete line at the end of a file; it was cut off", NULL);
    if (store->epoch_count < 2)
        return;
    snprintf(text, sizeof text, "continuing: %llu of %llu tasks have a result or a dead letter",
             (unsigned long long)counts->before, (unsigned long long)counts->total);
    batch_progress_say(&batch->progress, false, text, NULL);
}

static int report(struct batch *batch, const struct batch_counts *counts)
{
    bool stopped = batch->signal || batch->work.failed;
    uint64_t dead = counts->dead + batch->store.dead_before;
    if (batch->work.failed)
        batch_progress_say(&batch->progress, true, batch->work.error.message, batch->work.error.hint);
    batch_progress_summary(&batch->progress, counts, batch->store.paths[BATCH_DEAD]);
    if (stopped)
        batch_progress_say(&batch->progress, true, "the batch is not complete",
                           "Run the same command again: it continues.");
    if (batch->work.failed)
        return CLI_EXIT_FAILED;
    return batch->signal ? PYEXEC_EXIT_SIGNAL + batch->signal : dead ? CLI_EXIT_DEAD_LETTERS : CLI_EXIT_OK;
}

/* Runs all tasks. Returns the exit status, or -1 with an error before the first one. */
static int run_tasks(struct batch *batch, size_t concurrency, pyexec_error *error)
{
    struct batch_work *work = &batch->work;
    batch->signals = cli_signals_for_server();
    if (batch->signals < 0)
        return px_error_exhausted(error, errno, "can't make a descriptor for signals");
    if (lseek(batch->tasks, 0, SEEK_SET) < 0 || batch_work_check(work, batch->tasks, error) < 0)
        return -1;
    say_start(batch);
    if (lseek(batch->tasks, 0, SEEK_SET) < 0 || batch_work_start(work, batch->tasks, concurrency, error) < 0)
        return -1;
    const struct batch_counts counts = follow(batch);
    return report(batch, &counts);
}

/* ---- Where the tasks run ---- */

static int run_here(struct batch *batch, struct cli_settings *settings, size_t concurrency, pyexec_error *error)
{
    cli_auto_executor pyexec_executor *executor = NULL;
    settings->host.max_concurrent = (int64_t)concurrency;
    cli_heap_for_server();
    if (cli_settings_open(settings, NULL, &executor, error) < 0)
        return -1;
    batch->work.executor = executor;
    batch->work.run = batch_run_here;
    return run_tasks(batch, concurrency, error);
}

static int run_remote(struct batch *batch, const struct cli_settings *settings, const char *config, size_t concurrency,
                      pyexec_error *error)
{
    px_auto(server_done) struct server server = {0};
    px_auto(server_close) struct server_answer first = {.fd = -1};
    px_auto_json json_t *defaults = px_policy_given_to_json(&settings->policy);
    if (!defaults)
        return px_error_oom(error);
    batch->work.keyed = batch->options->nats.urls.count;
    if (batch->work.keyed) {
        if (batch_gateway_start(&batch->gateway, &batch->options->nats, config, &server, error) < 0)
            return -1;
    } else if (server_find(&server, &settings->cli, error) < 0 || server_connect(&server, &first, error) < 0) {
        return -1;
    }
    batch->work.server = &server;
    batch->work.defaults = json_object_size(defaults) ? defaults : NULL;
    batch->work.run = batch_run_remote;
    return run_tasks(batch, concurrency, error);
}

static void batch_done(struct batch *batch)
{
    batch_work_done(&batch->work);
    batch_gateway_end(&batch->gateway);
    batch_store_close(&batch->store);
    px_close_fd(&batch->tasks);
    px_close_fd(&batch->wake);
    cli_signals_end_descriptor(&batch->signals);
}

static int run_batch(const struct batch_options *options, const struct cli_arguments *arguments,
                     struct cli_settings *settings, pyexec_error *error)
{
    const char *tasks = arguments->operands.items[1];
    bool remote = settings->cli.server || options->nats.urls.count;
    px_auto_free char *output = NULL;
    size_t concurrency;
    px_auto(batch_done) struct batch batch = {.options = options,
                                              .store.fds = {-1, -1, -1},
                                              .tasks = -1,
                                              .gateway = {.place = -1, .log = -1},
                                              .signals = -1,
                                              .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    batch_work_init(&batch.work);
    batch_progress_init(&batch.progress, options->quiet);
    batch.work.store = &batch.store;
    batch.work.wake = batch.wake;
    batch.work.retry_lost = options->retry_lost;
    if (batch.wake < 0)
        return px_error_exhausted(error, errno, "can't make a descriptor");
    if (read_concurrency(options, remote, &settings->host, &concurrency, error) < 0 ||
        name_output(options, tasks, &output, error) < 0 || (batch.tasks = open_tasks(tasks, output, error)) < 0 ||
        batch_store_open(&batch.store, output, options->retry_lost, error) < 0)
        return -1;
    return remote ? run_remote(&batch, settings, arguments->config, concurrency, error)
                  : run_here(&batch, settings, concurrency, error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct batch_options *options = target;
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    if (check_operands(&arguments->operands, &error) < 0 || check_place(options, &error) < 0 ||
        cli_settings_load(&settings, arguments, &error) < 0 ||
        cli_settings_choose_server(&settings, options->server, options->token_file, &error) < 0)
        return cli_fail(&error);
    cli_signals_catch_pipe();
    int status = run_batch(options, arguments, &settings, &error);
    return status < 0 ? cli_fail(&error) : status;
}

const struct cli_command cmd_batch = {
    .name = "batch",
    .summary = "many tasks from a file, with results as JSON lines",
    .description =
        "run TASKS runs each line of the file (-: standard input), a JSON object like the body of POST /v1/execute with an `id`. "
        "Results are appended to the output as they come. Tasks that could not be run, or whose results are lost, are listed with the "
        "reason in a second file beside it, with .dead.jsonl at its end. The same command again continues: no task that may have "
        "run is started again without --retry-lost. The policy given here is the default of each task. "
        "Ctrl-C waits for the tasks in progress; a second one ends them. Exit status: 0, each task has a result; 1, some have a dead "
        "letter; 128 and the signal's number, interrupted (130 after Ctrl-C); 125, the batch could not go on.",
    .operands = "run TASKS",
    .max_operands = 2,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct batch_options),
    .policy_flags = true,
    .run = run,
};
