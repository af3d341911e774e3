/* SPDX-License-Identifier: Apache-2.0 */
/* Executes each script of stdin (a line with its length, then its bytes) with the whitelist
 * off and the default bans; prints what the accessors say, tab-separated. For the tests. */
#include <pyexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *text(const char *value)
{
    return value ? value : "-";
}

int main(void)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new("{\"python_bin\": \"/usr/bin/python3\", \"use_import_whitelist\": false}", NULL, &executor,
                            &error) < 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    size_t length;
    while (scanf("%zu", &length) == 1 && getchar() == '\n') {
        char *code = malloc(length);
        if (!code || fread(code, 1, length, stdin) != length)
            return 1;
        pyexec_request *request = pyexec_request_new();
        pyexec_result *result = NULL;
        pyexec_request_set_code(request, code, length);
        double before = now_ms();
        if (pyexec_execute_once(executor, request, &result, &error) < 0) {
            fprintf(stderr, "%s (%s)\n", error.message, error.hint);
            return 1;
        }
        printf("%.3f\t%s\t%d\t%s\t%d\n", now_ms() - before, pyexec_status_name(pyexec_result_status(result)),
               pyexec_result_exit_code(result), text(pyexec_result_error_type(result)),
               pyexec_result_error_line(result));
        pyexec_result_free(result);
        pyexec_request_free(request);
        free(code);
    }
    pyexec_executor_free(executor);
    return 0;
}
