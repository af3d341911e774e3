/* SPDX-License-Identifier: Apache-2.0 */
/* Many executions at the same time, each on its own thread: `capi_turns CONFIGURATION CODE NUMBER`. For a line "count" on
 * standard input it prints how many scripts have written something, how many executions have ended, and the executor's
 * counters. For a line "cancel" it cancels one more execution whose script has begun. It exits at the end of input. */
#define _GNU_SOURCE
#include <pthread.h>
#include <pyexec.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 256
#define DIE(...) (fprintf(stderr, __VA_ARGS__), exit(1))

static pyexec_executor *executor;
static struct run {
    pthread_t thread;
    pyexec_request *request;
    atomic_int began, cancelled;
} runs[RUNS_MAX];
static atomic_int begun, ended;

static int on_output(void *data, int stream, const char *bytes, size_t length)
{
    struct run *run = data;
    (void)stream;
    (void)bytes;
    (void)length;
    if (!atomic_exchange(&run->began, 1))
        begun++;
    return 0;
}

static void *execute(void *data)
{
    struct run *run = data;
    pyexec_error error;
    pyexec_result *result = NULL;
    if (pyexec_execute_once(executor, run->request, &result, &error) < 0 && error.code != PYEXEC_SHUTTING_DOWN)
        DIE("%s: %s\n", pyexec_code_name(error.code), error.message);
    ended++;
    pyexec_result_free(result);
    return NULL;
}

static void cancel_one(int number)
{
    for (int i = 0; i < number; i++)
        if (runs[i].began && !atomic_exchange(&runs[i].cancelled, 1)) {
            pyexec_request_cancel(runs[i].request);
            return;
        }
}

static void count(void)
{
    pyexec_error error;
    char *stats = NULL;
    if (pyexec_stats_json(executor, &stats, &error) < 0)
        DIE("%s\n", error.message);
    printf("[%d, %d, %s]\n", (int)begun, (int)ended, stats);
    free(stats);
}

int main(int argc, char **argv)
{
    pyexec_error error;
    int number = argc == 4 ? atoi(argv[3]) : 0;
    if (number < 1 || number > RUNS_MAX)
        DIE("usage: capi_turns CONFIGURATION CODE NUMBER\n");
    if (pyexec_executor_open(argv[1], &executor, &error) < 0)
        DIE("%s: %s\n", pyexec_code_name(error.code), error.message);
    for (int i = 0; i < number; i++) {
        runs[i].request = pyexec_request_new();
        pyexec_request_set_code(runs[i].request, argv[2], strlen(argv[2]));
        pyexec_request_set_output(runs[i].request, on_output, &runs[i]);
        pthread_create(&runs[i].thread, NULL, execute, &runs[i]);
    }
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "cancel\n") == 0)
            cancel_one(number);
        count();
        fflush(stdout);
    }
    pyexec_executor_free(executor);
    for (int i = 0; i < number; i++) {
        pthread_join(runs[i].thread, NULL);
        pyexec_request_free(runs[i].request);
    }
    return 0;
}
