/* SPDX-License-Identifier: Apache-2.0 */
/* Makes calls of one session and single runs, while a signal arrives every 100 microseconds at a handler without
 * SA_RESTART. Prints "ok" when each call returned its value and its facts, and the session never ended. */
#define _GNU_SOURCE
#include <pyexec.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define SESSION_CALLS 1500
#define RUNS 150
#define DIE(...) (fprintf(stderr, __VA_ARGS__), exit(1))

static atomic_long ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static void set_timer(int us)
{
    const struct itimerval timer = {{0, us}, {0, us}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* The files make the host write, list and read as well. */
static pyexec_result *call(pyexec_executor *executor, const char *session, const char *code)
{
    pyexec_error error = {.message = "can't add the file"};
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, strlen(code));
    if (pyexec_request_add_file(request, "in", "12345", 5) < 0 ||
        (session ? pyexec_execute(executor, session, request, &result, &error)
                 : pyexec_execute_once(executor, request, &result, &error)) < 0)
        DIE("%s: %s\n", code, error.message);
    pyexec_request_free(request);
    return result;
}

static void check(pyexec_result *result, const char *value, const char *created)
{
    const char *json = pyexec_result_json(result), *repr = pyexec_result_last_value(result);
    if (pyexec_result_status(result) != PYEXEC_STATUS_OK || !repr || strcmp(repr, value) != 0 || !strstr(json, created))
        DIE("wanted %s and %s: %s\n", value, created, json);
    size_t length;
    const char *output = pyexec_result_stdout(result, &length);
    if (length != 6 || memcmp(output, "12345\n", 6) != 0 || !strstr(json, "\"path\":\"out\""))
        DIE("output or file: %s\n", json);
    if (pyexec_result_wall_ms(result) <= 0 || pyexec_result_cpu_ms(result) <= 0 ||
        pyexec_result_peak_memory_bytes(result) == 0)
        DIE("facts: %s\n", json);
    pyexec_result_free(result);
}

int main(void)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    struct sigaction action = {.sa_handler = tick};
    sigaction(SIGALRM, &action, NULL);
    set_timer(100);
    if (pyexec_executor_new("{\"python_bin\": \"/usr/bin/python3\", \"disable_open\": false}", NULL, &executor,
                            &error) < 0)
        DIE("%s\n", error.message);
    for (int i = 0; i < SESSION_CALLS; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i + 1);
        check(call(executor, "s",
                   "print(open('in').read())\n_ = open('out', 'a').write('x')\n"
                   "try:\n    n += 1\nexcept NameError:\n    n = 1\nn"),
              value, i ? "\"created\":false" : "\"created\":true");
    }
    for (int i = 0; i < RUNS; i++)
        check(call(executor, NULL, "print(open('in').read())\n_ = open('out', 'w').write('x')\n6 * 7"), "42", "\"ok\"");
    pyexec_executor_free(executor);
    set_timer(0);
    if (ticks < SESSION_CALLS)
        DIE("only %ld signals came\n", (long)ticks);
    puts("ok");
}
