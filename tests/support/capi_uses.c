/* SPDX-License-Identifier: Apache-2.0 */
/* Other things that a host may do with libpyexec. Each argument names a scenario of test_embedding.py; the program
 * prints "ok" when the scenario succeeds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <pyexec.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLICY "{\"python_bin\": \"/usr/bin/python3\", \"use_import_whitelist\": false, \"banned_imports\": []}"
#define DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define WANT(condition) ((condition) ? (void)0 : DIE("line %d: %s", __LINE__, #condition))
#define SLEEP "import time\nprint('began', flush=True)\ntime.sleep(4)"

static pyexec_error error;

static pyexec_executor *make(const char *host)
{
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new(POLICY, host, &executor, &error) < 0)
        DIE("%s (%s)", error.message, error.hint);
    return executor;
}

static pyexec_request *ask(const char *code)
{
    pyexec_request *request = pyexec_request_new();
    WANT(pyexec_request_set_code(request, code, strlen(code)) == 0);
    return request;
}

/* NULL when it failed; the reason is in `error` then. */
static pyexec_result *answer(pyexec_executor *executor, pyexec_request *request)
{
    pyexec_result *result = NULL;
    return pyexec_execute_once(executor, request, &result, &error) < 0 ? NULL : result;
}

static void works(pyexec_executor *executor)
{
    pyexec_request *request = ask("6 * 7");
    pyexec_result *result = answer(executor, request);
    if (!result)
        DIE("%s (%s)", error.message, error.hint);
    WANT(strcmp(pyexec_result_last_value(result), "42") == 0);
    pyexec_result_free(result);
    pyexec_request_free(request);
}

static pyexec_request *running;

static void on_alarm(int number)
{
    (void)number;
    pyexec_request_cancel(running);
}

static void from_a_signal_handler(void)
{
    pyexec_executor *executor = make(NULL);
    struct sigaction action = {.sa_handler = on_alarm};
    running = ask(SLEEP);
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    pyexec_result *result = answer(executor, running);
    WANT(result);
    WANT(pyexec_result_status(result) == PYEXEC_STATUS_CANCELLED);
    WANT(strcmp(pyexec_result_stdout(result, NULL), "began\n") == 0);
    pyexec_result_free(result);
    works(executor);
    pyexec_request_free(running);
    pyexec_executor_free(executor);
}

static int count_output(void *userdata, int stream, const char *bytes, size_t length)
{
    (void)bytes;
    ((size_t *)userdata)[stream] += length;
    return 0;
}

static void output_as_it_comes(void)
{
    pyexec_executor *executor = make(NULL);
    size_t counts[3] = {0};
    pyexec_request *request = ask("import sys\nprint('a' * 3000000)\nprint('e' * 9, file=sys.stderr)");
    pyexec_request_set_output(request, count_output, counts);
    pyexec_result *result = answer(executor, request);
    WANT(result);
    size_t length;
    WANT(pyexec_result_stdout(result, &length) && length == 1000000);
    WANT(counts[1] == 1000000 && counts[2] == 10);
    WANT(pyexec_result_stdout_truncated(result) && pyexec_result_stdout_bytes(result) == 3000001);
    pyexec_result_free(result);
    pyexec_request_free(request);
    works(executor);
    pyexec_executor_free(executor);
}

static void *write_slowly(void *fd)
{
    for (int i = 0; i < 3; i++) {
        usleep(50000);
        WANT(write(*(int *)fd, "line\n", 5) == 5);
    }
    close(*(int *)fd);
    return NULL;
}

static void input_from_a_descriptor(void)
{
    pyexec_executor *executor = make(NULL);
    int ends[2];
    pthread_t thread;
    WANT(pipe2(ends, O_CLOEXEC) == 0);
    pthread_create(&thread, NULL, write_slowly, &ends[1]);
    pyexec_request *request = ask("import sys\n[input(), input(), sys.stdin.read()]");
    pyexec_request_set_stdin_fd(request, ends[0]);
    pyexec_result *result = answer(executor, request);
    WANT(result && pyexec_result_last_value(result));
    WANT(strcmp(pyexec_result_last_value(result), "['line', 'line', 'line\\n']") == 0);
    pthread_join(thread, NULL);
    WANT(fcntl(ends[0], F_GETFD) >= 0);
    close(ends[0]);
    pyexec_result_free(result);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
}

static void request_used_again(void)
{
    pyexec_executor *executor = make(NULL);
    pyexec_request *request = ask("import os\nos.environ.get('A'), input()");
    pyexec_request_set_env(request, "A", "1");
    pyexec_request_set_env(request, "A", "2");
    pyexec_request_set_stdin(request, "in\n", 3);
    for (int i = 0; i < 3; i++) {
        pyexec_result *result = answer(executor, request);
        WANT(result && pyexec_result_last_value(result));
        WANT(strcmp(pyexec_result_last_value(result), "('2', 'in')") == 0);
        pyexec_result_free(result);
    }
    WANT(pyexec_request_set_code(request, "1 / 0", 5) == 0);
    pyexec_result *result = answer(executor, request);
    WANT(result && pyexec_result_error_line(result) == 1);
    WANT(strcmp(pyexec_result_error_type(result), "ZeroDivisionError") == 0);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
    /* A result stays valid without its request and its executor. */
    WANT(strcmp(pyexec_result_error_repr(result), "ZeroDivisionError: division by zero") == 0);
    pyexec_result_free(result);
}

static bool is_a_copy;

/* LeakSanitizer calls this function. It would stop all threads that it knows, but a forked copy has only one of them. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return is_a_copy;
}

static void forked(void)
{
    pyexec_executor *executor = make(NULL);
    works(executor);
    pid_t child = fork();
    if (child == 0) {
        is_a_copy = true;
        exit(0);
    }
    int status;
    WANT(waitpid(child, &status, 0) == child && status == 0);
    works(executor);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    works(executor);
    /* This does not wait for the forked copy. */
    pyexec_executor_free(executor);
    kill(child, SIGKILL);
    WANT(waitpid(child, NULL, 0) == child);
}

/* The host is killed, but a process that it forked is still alive. Prints the id of that process. */
static void forked_and_killed(void)
{
    pyexec_executor *executor = make(NULL);
    works(executor);
    pid_t child = fork();
    if (child == 0) {
        close(1);
        close(2);
        for (;;)
            pause();
    }
    printf("%d\n", child);
    fflush(stdout);
    raise(SIGKILL);
}

static void executed(void)
{
    pyexec_executor *executor = make(NULL);
    works(executor);
    WANT(system("for f in /proc/self/fd/*; do readlink $f; done | "
                "grep -E 'socket|memfd|pyexec|anon_inode' && exit 1 || exit 0") == 0);
    pyexec_executor_free(executor);
}

static void json_refused(void)
{
    static const char *const bad[] = {"{", "[]", "{\"nosuch\": 1}", "{\"code\": 5}", "{\"code\": \"\\ud800\"}"};
    pyexec_executor *executor = make(NULL);
    pyexec_request *request = pyexec_request_new();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        WANT(pyexec_request_set_json(request, bad[i], strlen(bad[i]), &error) == -1 &&
             error.code == PYEXEC_INVALID_REQUEST && error.message[0]);
    pyexec_request_free(request);
    works(executor);
    pyexec_executor_free(executor);
    WANT(strcmp(pyexec_code_name((pyexec_code)99), "unknown") == 0);
    WANT(strcmp(pyexec_status_name((pyexec_status)-1), "unknown") == 0);
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"from-a-signal-handler", from_a_signal_handler},
        {"output-as-it-comes", output_as_it_comes},
        {"input-from-a-descriptor", input_from_a_descriptor},
        {"request-used-again", request_used_again},
        {"forked", forked},
        {"forked-and-killed", forked_and_killed},
        {"executed", executed},
        {"json-refused", json_refused},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (strcmp(name, scenarios[i].name) == 0) {
            scenarios[i].run();
            puts("ok");
            return 0;
        }
    DIE("no such scenario");
}
