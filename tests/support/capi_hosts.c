/* SPDX-License-Identifier: Apache-2.0 */
/* Unusual host programs. Each argument names a scenario; the program prints "ok" when the scenario succeeds. For the
 * tests. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <pyexec.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define POLICY "{\"python_bin\": \"/usr/bin/python3\", \"timeout_ms\": 20000}"
#define DIE(...) (fprintf(stderr, __VA_ARGS__), exit(1))

static pyexec_executor *make(const char *host)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new(POLICY, host, &executor, &error) < 0)
        DIE("%s (%s)\n", error.message, error.hint);
    return executor;
}

static pyexec_request *ask(const char *code)
{
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, strlen(code));
    return request;
}

/* The code of a call's error, or PYEXEC_OK when it gave a result, with the status in *ret. */
static pyexec_code call(pyexec_executor *executor, pyexec_request *request, pyexec_status *ret)
{
    pyexec_error error = {0};
    pyexec_result *result = NULL;
    if (pyexec_execute_once(executor, request, &result, &error) < 0)
        return error.code;
    *ret = pyexec_result_status(result);
    pyexec_result_free(result);
    return PYEXEC_OK;
}

static void expect(pyexec_executor *executor, const char *code, pyexec_status wanted)
{
    pyexec_status status = PYEXEC_STATUS_OK;
    pyexec_request *request = ask(code);
    pyexec_code failure = call(executor, request, &status);
    if (failure != PYEXEC_OK || status != wanted)
        DIE("%s: %s, status %s\n", code, pyexec_code_name(failure), pyexec_status_name(status));
    pyexec_request_free(request);
}

static void *make_in_thread(void *ret)
{
    *(pyexec_executor **)ret = make(NULL);
    expect(*(pyexec_executor **)ret, "1", PYEXEC_STATUS_OK);
    return NULL;
}

static void maker_thread_ends(void)
{
    pyexec_executor *executor = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, make_in_thread, &executor);
    pthread_join(thread, NULL);
    usleep(300000);
    for (int i = 0; i < 5; i++)
        expect(executor, "6 * 7", PYEXEC_STATUS_OK);
    pyexec_executor_free(executor);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A stop that comes before the run, or while its process is being made, stops this run. */
static void stopped_before(int cancel)
{
    pyexec_executor *executor = make(NULL);
    pyexec_status status = PYEXEC_STATUS_OK, wanted = cancel ? PYEXEC_STATUS_CANCELLED : PYEXEC_STATUS_ERROR;
    pyexec_request *request = ask("import time\ntime.sleep(8)");
    double start = seconds();
    (cancel ? pyexec_request_cancel : pyexec_request_interrupt)(request);
    pyexec_code failure = call(executor, request, &status);
    if (failure != PYEXEC_OK || status != wanted || seconds() - start > 3)
        DIE("%s, status %s after %.1f s\n", pyexec_code_name(failure), pyexec_status_name(status), seconds() - start);
    pyexec_request_free(request);
    expect(executor, "1", PYEXEC_STATUS_OK);
    pyexec_executor_free(executor);
}

static void interrupted_before(void)
{
    stopped_before(false);
}

static void cancelled_before(void)
{
    stopped_before(true);
}

static int refuse(void *count, int stream, const char *bytes, size_t length)
{
    (void)stream, (void)bytes, (void)length;
    return ++*(int *)count;
}

static void output_cancels(void)
{
    pyexec_executor *executor = make(NULL);
    pyexec_status status = PYEXEC_STATUS_OK;
    pyexec_request *request = ask("while True: print('x' * 1000)");
    int count = 0;
    pyexec_request_set_output(request, refuse, &count);
    pyexec_code failure = call(executor, request, &status);
    if (failure != PYEXEC_OK || status != PYEXEC_STATUS_CANCELLED || count < 1)
        DIE("%s, status %s, %d calls\n", pyexec_code_name(failure), pyexec_status_name(status), count);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
}

static void no_streams(int keep)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    for (int i = 0; i < 3; i++) {
        pyexec_executor *executor = make(NULL);
        expect(executor, "print(1)", PYEXEC_STATUS_OK);
        expect(executor, "1 / 0", PYEXEC_STATUS_ERROR);
        pyexec_executor_free(executor);
    }
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            exit(2);
    dup2(keep, 1);
}

static void all_signals_blocked(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pyexec_executor *executor = make(NULL);
    expect(executor, "import time\ntime.sleep(.1)", PYEXEC_STATUS_OK);
    pyexec_request *request = ask("while True: pass");
    pyexec_request_set_policy(request, "{\"timeout_ms\": 200}");
    pyexec_status status = PYEXEC_STATUS_OK;
    if (call(executor, request, &status) != PYEXEC_OK || status != PYEXEC_STATUS_TIMEOUT)
        DIE("status %s\n", pyexec_status_name(status));
    pyexec_request_free(request);
    pyexec_executor_free(executor);
}

/* A host without descriptors to spare gets an error, and works again once it has some. */
static void out_of_descriptors(void)
{
    pyexec_executor *executor = make(NULL);
    expect(executor, "1", PYEXEC_STATUS_OK);
    pyexec_request *requests[20];
    int taken[64], count = 0;
    for (int i = 0; i < 20; i++)
        requests[i] = ask("1");
    struct rlimit limit = {64, 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    while (count < 64 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    for (int i = 0; i < 20; i++) {
        /* One more descriptor each time, so that every step of a run meets the limit once. */
        pyexec_status status = PYEXEC_STATUS_OK;
        pyexec_code failure = call(executor, requests[i], &status);
        if (failure == PYEXEC_OK ? status != PYEXEC_STATUS_OK
                                 : failure != PYEXEC_INTERNAL && failure != PYEXEC_OVERLOADED)
            DIE("%s, status %s with %d free\n", pyexec_code_name(failure), pyexec_status_name(status), i);
        if (count > 0)
            close(taken[--count]);
    }
    while (count > 0)
        close(taken[--count]);
    for (int i = 0; i < 20; i++)
        pyexec_request_free(requests[i]);
    usleep(300000);
    for (int i = 0; i < 5; i++)
        expect(executor, "1", PYEXEC_STATUS_OK);
    pyexec_executor_free(executor);
}

/* The first use of sessions needs descriptors. The error says that descriptors are missing, and which limit caused it. */
static void no_descriptors_for_sessions(void)
{
    pyexec_error error = {0};
    pyexec_executor *executor = make(NULL);
    struct rlimit limit = {64, 64};
    int taken[64], count = 0;
    char *text = NULL;
    setrlimit(RLIMIT_NOFILE, &limit);
    while (count < 64 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    if (pyexec_sessions_json(executor, &text, &error) == 0 || error.code != PYEXEC_OVERLOADED ||
        !strstr(error.hint, "RLIMIT_NOFILE"))
        DIE("%s: %s (%s)\n", pyexec_code_name(error.code), error.message, error.hint);
    while (count > 0)
        close(taken[--count]);
    if (pyexec_sessions_json(executor, &text, &error) < 0 || strcmp(text, "[]") != 0)
        DIE("%s\n", error.message);
    free(text);
    pyexec_executor_free(executor);
}

static void *until_closed(void *executor)
{
    pyexec_status status = PYEXEC_STATUS_OK;
    pyexec_request *request = ask("while True: pass");
    pyexec_request_set_policy(request, "{\"cpu_time_seconds\": null}");
    pyexec_code failure = call(executor, request, &status);
    pyexec_request_free(request);
    if (failure != PYEXEC_SHUTTING_DOWN && !(failure == PYEXEC_OK && status == PYEXEC_STATUS_CANCELLED))
        DIE("%s, status %s\n", pyexec_code_name(failure), pyexec_status_name(status));
    return NULL;
}

static void freed_with_a_queue(void)
{
    pyexec_executor *executor = make("{\"max_concurrent\": 2}");
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, until_closed, executor);
    usleep(400000);
    double start = seconds();
    pyexec_executor_free(executor);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    if (seconds() - start > 3)
        DIE("took %.1f s\n", seconds() - start);
}

/* A queue of one with one place: the third caller is told when to come again. */
static void overloaded(void)
{
    pyexec_executor *executor = make("{\"max_concurrent\": 1, \"queue_length\": 1}");
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, until_closed, executor);
        usleep(300000);
    }
    pyexec_error error = {0};
    pyexec_result *result = NULL;
    pyexec_request *request = ask("1");
    if (pyexec_execute_once(executor, request, &result, &error) == 0 || error.code != PYEXEC_OVERLOADED ||
        error.retry_after_ms <= 0 || !error.message[0] || !error.hint[0] || result)
        DIE("%s: %s, %d ms\n", pyexec_code_name(error.code), error.message, error.retry_after_ms);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void refused(void)
{
    pyexec_error error = {0};
    pyexec_executor *executor = NULL;
    static const char *bad[] = {"{", "[]", "{\"timeout_ms\": \"x\"}", "{\"timeout_m\": 1}", "{\"timeout_ms\": 0}", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pyexec_executor_new(bad[i], NULL, &executor, &error) == 0 || error.code != PYEXEC_INVALID_POLICY ||
            executor)
            DIE("%s: %s\n", bad[i], pyexec_code_name(error.code));
    executor = make(NULL);
    static const struct {
        const char *code;
        size_t length;
    } codes[] = {{"x\0y", 3}, {"'\xff'", 3}, {"'\xed\xa0\x80'", 5}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        pyexec_result *result = NULL;
        pyexec_request *request = pyexec_request_new();
        if (pyexec_request_set_code(request, codes[i].code, codes[i].length) == 0 &&
            (pyexec_execute_once(executor, request, &result, &error) == 0 || error.code != PYEXEC_INVALID_REQUEST))
            DIE("code %zu was taken\n", i);
        pyexec_request_free(request);
    }
    expect(executor, "1", PYEXEC_STATUS_OK);
    pyexec_executor_free(executor);
    pyexec_executor_free(NULL);
    pyexec_request_free(NULL);
    pyexec_result_free(NULL);
}

/* Without a configuration the default one is used, as text and as an object. A text that is not an object is refused. */
static void no_configuration(void)
{
    pyexec_error error = {0};
    pyexec_executor *executor = NULL;
    static const char *bad[] = {"", "[]", "null", "{\"serve\": {}}", "{\"policy\": null}", "{\"host\": []}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pyexec_executor_open(bad[i], &executor, &error) == 0 || error.code != PYEXEC_INVALID_POLICY || executor)
            DIE("%s: %s\n", bad[i], pyexec_code_name(error.code));
    setenv("PATH", "/usr/bin:/bin", 1); /* where the default interpreter is found */
    for (int object = 0; object < 2; object++) {
        if ((object ? pyexec_executor_open_object(NULL, &executor, &error)
                    : pyexec_executor_open(NULL, &executor, &error)) < 0)
            DIE("%s (%s)\n", error.message, error.hint);
        if (!strstr(pyexec_executor_policy_json(executor), "\"python_bin\":\"python3\""))
            DIE("%s\n", pyexec_executor_policy_json(executor));
        expect(executor, "6 * 7", PYEXEC_STATUS_OK);
        pyexec_executor_free(executor);
        executor = NULL;
    }
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"maker-thread-ends", maker_thread_ends},
        {"interrupted-before", interrupted_before},
        {"cancelled-before", cancelled_before},
        {"output-cancels", output_cancels},
        {"all-signals-blocked", all_signals_blocked},
        {"out-of-descriptors", out_of_descriptors},
        {"no-descriptors-for-sessions", no_descriptors_for_sessions},
        {"freed-with-a-queue", freed_with_a_queue},
        {"overloaded", overloaded},
        {"refused", refused},
        {"no-configuration", no_configuration},
    };
    const char *name = count > 1 ? arguments[1] : "";
    if (strcmp(name, "no-streams") == 0) {
        int keep = fcntl(1, F_DUPFD_CLOEXEC, 100);
        no_streams(keep);
        return dprintf(1, "ok\n") != 3;
    }
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(name, scenarios[i].name) == 0) {
            scenarios[i].run();
            puts("ok");
            return 0;
        }
    DIE("no such scenario\n");
}
