/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding: each argument names a scenario; prints "ok" when it holds. For the tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <pyexec.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLICY "{\"python_bin\": \"/usr/bin/python3\"}"
#define DIE(...) (fprintf(stderr, __VA_ARGS__), exit(1))

static pyexec_executor *make(void)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new(POLICY, NULL, &executor, &error) < 0)
        DIE("%s\n", error.message);
    return executor;
}

static int run(pyexec_executor *executor, const char *code, pyexec_status wanted)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, strlen(code));
    if (pyexec_execute_once(executor, request, &result, &error) < 0)
        DIE("%s\n", error.message);
    int good = pyexec_result_status(result) == wanted;
    if (!good)
        fprintf(stderr, "%s\n", pyexec_result_json(result));
    pyexec_result_free(result);
    pyexec_request_free(request);
    return good;
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void in_a_session(pyexec_executor *executor, const char *code)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, strlen(code));
    if (pyexec_execute(executor, "s", request, &result, &error) < 0)
        DIE("%s\n", error.message);
    pyexec_result_free(result);
    pyexec_request_free(request);
}

/* Resources of a process in which an executor was made and freed. */
struct held {
    int descriptors, threads;
    long resident_kib;
};

static struct held held(void)
{
    struct held held = {count_entries("/proc/self/fd"), count_entries("/proc/self/task"), 0};
    /* Counted page by page; the numbers of /proc/self/statm are estimates. */
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (!file || fscanf(file, "%*[^\n] Rss: %ld", &held.resident_kib) != 1)
        DIE("/proc/self/smaps_rollup\n");
    fclose(file);
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        DIE("a child is left\n");
    return held;
}

/* The second run of a shape makes the pool begin; a session is left open. */
static void cycles(int count)
{
    for (int i = 0; i < count; i++) {
        pyexec_executor *executor = make();
        for (int j = 0; j < 3; j++)
            if (!run(executor, "print(1)", PYEXEC_STATUS_OK))
                exit(1);
        in_a_session(executor, "x = 1");
        pyexec_executor_free(executor);
    }
}

static void grows_by_nothing(void)
{
    cycles(30); /* the memory that malloc keeps for each thread's arena no longer grows */
    struct held before = held();
    cycles(60);
    struct held after = held();
    fprintf(stderr, "descriptors, threads, KiB resident: %d %d %ld, then %d %d %ld\n", before.descriptors,
            before.threads, before.resident_kib, after.descriptors, after.threads, after.resident_kib);
    if (after.descriptors != before.descriptors || after.threads != before.threads)
        DIE("descriptors or threads are left\n");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep what is freed */
    if (after.resident_kib > before.resident_kib + 192)             /* 3 KiB of each executor */
        DIE("memory is left\n");
#endif
}

static void *many(void *executor)
{
    for (long i = 0; i < 40; i++) {
        char code[64];
        snprintf(code, sizeof code, i % 2 ? "print(%ld)\n%ld + 1" : "1 / 0 or %ld or %ld", i, i);
        if (!run(executor, code, i % 2 ? PYEXEC_STATUS_OK : PYEXEC_STATUS_ERROR))
            exit(1);
    }
    return NULL;
}

static void threads(pyexec_executor *executor)
{
    pthread_t ids[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&ids[i], NULL, many, executor);
    for (int i = 0; i < 8; i++)
        pthread_join(ids[i], NULL);
}

static void *reaper(void *unused)
{
    (void)unused;
    for (;;)
        if (waitpid(-1, NULL, 0) < 0)
            usleep(1000);
    return NULL;
}

static void *interrupter(void *request)
{
    usleep(300000);
    pyexec_request_interrupt(request);
    return NULL;
}

static void *canceller(void *request)
{
    usleep(300000);
    pyexec_request_cancel(request);
    return NULL;
}

static void stopped(void *(*how)(void *), const char *code, pyexec_status wanted)
{
    pyexec_error error;
    pyexec_executor *executor = make();
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    pthread_t thread;
    pyexec_request_set_code(request, code, strlen(code));
    pthread_create(&thread, NULL, how, request);
    if (pyexec_execute_once(executor, request, &result, &error) < 0)
        DIE("%s\n", error.message);
    pthread_join(thread, NULL);
    if (pyexec_result_status(result) != wanted)
        DIE("%s\n", pyexec_result_json(result));
    pyexec_result_free(result);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
}

static void *long_run(void *executor)
{
    run(executor, "while True: pass", PYEXEC_STATUS_CANCELLED);
    return NULL;
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    if (strcmp(name, "threads") == 0) {
        pyexec_executor *executor = make();
        threads(executor);
        pyexec_executor_free(executor);
    } else if (strcmp(name, "cycles") == 0) {
        grows_by_nothing();
    } else if (strcmp(name, "sigchld-ignored") == 0) {
        signal(SIGCHLD, SIG_IGN);
        pyexec_executor *executor = make();
        threads(executor);
        pyexec_executor_free(executor);
    } else if (strcmp(name, "own-waitpid") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, reaper, NULL);
        pyexec_executor *executor = make();
        threads(executor);
        pyexec_executor_free(executor);
    } else if (strcmp(name, "two") == 0) {
        pyexec_executor *first = make(), *second = make();
        run(first, "1", PYEXEC_STATUS_OK);
        pyexec_executor_free(first);
        if (!run(second, "2", PYEXEC_STATUS_OK))
            return 1;
        pyexec_executor_free(second);
    } else if (strcmp(name, "interrupt") == 0) {
        stopped(interrupter, "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass\n",
                PYEXEC_STATUS_OK);
    } else if (strcmp(name, "cancel") == 0) {
        stopped(canceller, "while True: pass", PYEXEC_STATUS_CANCELLED);
        stopped(canceller, "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n",
                PYEXEC_STATUS_CANCELLED);
    } else if (strcmp(name, "free-while-running") == 0) {
        pyexec_executor *executor = make();
        pthread_t thread;
        pthread_create(&thread, NULL, long_run, executor);
        usleep(300000);
        pyexec_executor_free(executor);
        pthread_join(thread, NULL);
    } else {
        DIE("no such scenario\n");
    }
    puts("ok");
    return 0;
}
