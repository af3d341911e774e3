/* Runs one script in the sandbox and prints its value.
 *
 *     gcc run_once.c $(pkg-config --cflags --libs libpyexec) -o run_once && ./run_once
 */
#include <pyexec.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const char *code = "6 * 7";
    pyexec_error error;
    pyexec_executor *executor = NULL;
    if (pyexec_executor_new("{\"timeout_ms\": 2000}", NULL, &executor, &error) < 0) {
        fprintf(stderr, "%s\n%s\n", error.message, error.hint);
        return 1;
    }
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, strlen(code));
    pyexec_result *result = NULL;
    int failed = pyexec_execute_once(executor, request, &result, &error);
    if (failed)
        fprintf(stderr, "%s\n%s\n", error.message, error.hint);
    else if (pyexec_result_status(result) == PYEXEC_STATUS_OK)
        puts(pyexec_result_last_value(result));
    else
        fputs(pyexec_result_stderr(result, NULL), stderr);
    pyexec_result_free(result);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
    return failed != 0;
}
