/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding in a C program. Each argument names a scenario; the program prints "ok" when the scenario succeeds. For the tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <pyexec.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
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

/* The second run with the same shape starts the pool. A session is left open. */
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
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* sanitizers keep freed memory */
    if (after.resident_kib > before.resident_kib + 192)             /* 3 KiB for each executor */
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

/* ---- Threads that call tools ---- */

static _Thread_local bool calls_tools;
static _Atomic int tool_threads;

struct start {
    void *(*run)(void *);
    void *argument;
};

/* A thread that has called a tool takes its time to end. */
static void *end_slowly(void *data)
{
    struct start start = *(struct start *)data;
    free(data);
    void *result = start.run(start.argument);
    if (calls_tools) {
        usleep(200000);
        tool_threads--;
    }
    return result;
}

/* The library calls this function instead of the one of the C library. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    *start = (struct start){run, argument};
    int failed = create(thread, attributes, end_slowly, start);
    if (failed)
        free(start);
    return failed;
}

static void enter_tool(void)
{
    tool_threads += !calls_tools;
    calls_tools = true;
}

static void answer_tool(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    (void)data;
    enter_tool();
    pyexec_tool_call_answer(call, "1", 1, &error);
    pyexec_tool_call_free(call);
}

/* Still runs when the run has ended. */
static void block_tool(void *request, pyexec_tool_call *call)
{
    enter_tool();
    pyexec_request_cancel(request);
    while (pyexec_tool_call_waits(call))
        usleep(1000);
    usleep(100000);
    pyexec_tool_call_free(call);
}

/* The request's tools, or those of a set, are freed after the run; then no thread of theirs is left. */
static void call_tools(pyexec_executor *executor, const char *code, pyexec_status wanted, bool shared)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    pyexec_tools *set = shared ? pyexec_tools_new() : NULL;
    pyexec_request_set_code(request, code, strlen(code));
    if (pyexec_request_add_tool(request, "own", NULL, answer_tool, NULL, &error) < 0 ||
        pyexec_request_add_tool(request, "blocks", NULL, block_tool, request, &error) < 0 ||
        (shared && pyexec_tools_add(set, NULL, "lent", NULL, answer_tool, NULL, &error) < 0))
        DIE("%s\n", error.message);
    if (shared)
        pyexec_request_set_tools(request, set);
    if (pyexec_execute_once(executor, request, &result, &error) < 0)
        DIE("%s\n", error.message);
    if (pyexec_result_status(result) != wanted)
        DIE("%s\n", pyexec_result_json(result));
    if (!tool_threads)
        DIE("no thread ended slowly\n");
    pyexec_result_free(result);
    pyexec_request_free(request);
    pyexec_tools_free(set);
    if (tool_threads)
        DIE("%d threads are left after '%s'\n", tool_threads, code);
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
    } else if (strcmp(name, "threads-of-tools") == 0) {
        pyexec_executor *executor = make();
        call_tools(executor, "own(), own()", PYEXEC_STATUS_OK, false);
        call_tools(executor, "import tools\nawait tools.aio.own()", PYEXEC_STATUS_OK, false);
        call_tools(executor, "import tools\ntasks = [tools.aio.own() for _ in range(8)]\nfor task in tasks: await task",
                   PYEXEC_STATUS_OK, false);
        call_tools(executor, "blocks()", PYEXEC_STATUS_CANCELLED, false);
        call_tools(executor, "own(), lent()", PYEXEC_STATUS_OK, true);
        call_tools(executor, "lent(), own()", PYEXEC_STATUS_OK, true);
        call_tools(executor, "lent(), blocks()", PYEXEC_STATUS_CANCELLED, true);
        pyexec_executor_free(executor);
    } else {
        DIE("no such scenario\n");
    }
    puts("ok");
    return 0;
}
