/* SPDX-License-Identifier: Apache-2.0 */
/* Executes one request object per line of stdin; prints the result object, with the time it
 * took, per line. With an argument, it is the id of the session that executes them. For the tests. */
#include <pyexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new("{\"python_bin\": \"/usr/bin/python3\", \"use_import_whitelist\": false,"
                            " \"banned_imports\": []}",
                            NULL, &executor, &error) < 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        pyexec_request *request = pyexec_request_new();
        pyexec_result *result = NULL;
        double before = now_ms();
        if (pyexec_request_set_json(request, line, (size_t)length, &error) < 0 ||
            (argc > 1 ? pyexec_execute(executor, argv[1], request, &result, &error)
                      : pyexec_execute_once(executor, request, &result, &error)) < 0) {
            fprintf(stderr, "%s (%s)\n", error.message, error.hint);
            return 1;
        }
        printf("{\"elapsed_ms\":%.3f,%s\n", now_ms() - before, pyexec_result_json(result) + 1);
        pyexec_result_free(result);
        pyexec_request_free(request);
    }
    free(line);
    pyexec_executor_free(executor);
    return 0;
}
