/* SPDX-License-Identifier: Apache-2.0 */
/* Displays, values and inputs through the C API. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pyexec.h>

static int order[8], events;

static int on_output(void *data, int stream, const char *bytes, size_t length)
{
    (void)data, (void)stream, (void)bytes, (void)length;
    order[events++ & 7] = 'o';
    return 0;
}

static int on_display(void *data, const char *json, size_t length)
{
    char **kept = data;
    if (strlen(json) != length)
        errx(1, "a display of another length");
    free(*kept);
    *kept = strdup(json);
    order[events++ & 7] = 'd';
    return 0;
}

static void expect(const char *what, const char *found, const char *wanted)
{
    if (!found || strcmp(found, wanted) != 0)
        errx(1, "%s: %s", what, found ? found : "NULL");
}

int main(int argc, char **argv)
{
    static const char code[] = "print(n)\ndisplay(n + 1)\n[n, 0.1]";
    char policy[256], *kept = NULL;
    pyexec_error error;
    pyexec_executor *executor = NULL;
    pyexec_result *result = NULL;
    snprintf(policy, sizeof policy, "{\"python_bin\":\"%s\"}", argc > 1 ? argv[1] : "python3");
    if (pyexec_executor_new(policy, NULL, &executor, &error) < 0)
        errx(1, "%s", error.message);
    pyexec_request *request = pyexec_request_new();
    pyexec_request_set_code(request, code, sizeof code - 1);
    pyexec_request_set_output(request, on_output, NULL);
    pyexec_request_set_display(request, on_display, &kept);
    if (pyexec_request_set_input(request, "n", "9007199254740993") < 0 ||
        pyexec_request_set_input(request, "n", "{") == 0 || pyexec_request_set_value_json(request, "table") == 0 ||
        pyexec_request_set_value_json(request, "split") < 0)
        errx(1, "a setter");
    if (pyexec_execute_once(executor, request, &result, &error) < 0)
        errx(1, "%s", error.message);
    expect("value", pyexec_result_last_value_json(result), "[9007199254740993,0.1]");
    expect("display", pyexec_result_display_json(result, 0),
           "{\"data\":{\"text/plain\":\"9007199254740994\"},\"metadata\":{},\"last_value\":false}");
    expect("shown", kept, pyexec_result_display_json(result, 0));
    if (pyexec_result_display_count(result) != 1 || pyexec_result_display_json(result, 1) ||
        pyexec_result_display_dropped(result) || pyexec_result_last_value_json_error(result))
        errx(1, "counts");
    if (events != 2 || order[0] != 'o' || order[1] != 'd')
        errx(1, "order");
    free(kept);
    pyexec_result_free(result);
    pyexec_request_free(request);
    pyexec_executor_free(executor);
    return 0;
}
