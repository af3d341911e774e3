/* SPDX-License-Identifier: Apache-2.0 */
/* Spans through the C API: capi_spans CONFIGURATION SAMPLER RATIO FLAGS TRACEPARENT TRACESTATE SESSION ("" for none, each);
 * scripts on standard input, each ended by a NUL. SAMPLER "": no tracing is set. Prints JSON lines: {"taken"} whether the
 * traceparent was taken, {"tool"} what a tool was told, {"spans"}, {"result"} or {"error"}. */
#define _GNU_SOURCE
#include <err.h>
#include <pyexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_text(const char *text)
{
    printf(text ? "\"%s\"" : "null", text);
}

/* The name of a tool says what it does. `leave` never answers. */
static void tool(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    const char *name = pyexec_tool_call_name(call);
    (void)data;
    flockfile(stdout);
    printf("{\"tool\":{\"name\":\"%s\",\"traceparent\":", name);
    print_text(pyexec_tool_call_traceparent(call));
    printf(",\"tracestate\":");
    print_text(pyexec_tool_call_tracestate(call));
    printf("}}\n");
    funlockfile(stdout);
    if (strcmp(name, "give") == 0)
        pyexec_tool_call_answer(call, "1", 1, &error);
    else if (strcmp(name, "fail") == 0)
        pyexec_tool_call_fail(call, "no", NULL, &error);
    else if (strcmp(name, "deny") == 0)
        pyexec_tool_call_deny(call, "no", &error);
    else
        return; /* the call is kept, and leaked on purpose: a caller that forgets it */
    pyexec_tool_call_free(call);
}

static void spans(void *data, const char *json, size_t length, size_t count)
{
    printf("{\"count\":%zu,\"data\":%d,\"spans\":[%.*s]}\n", count, data == stdout, (int)length, json);
}

static void execute(pyexec_executor *executor, pyexec_request *request, const char *session)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    int status = *session ? pyexec_execute(executor, session, request, &result, &error)
                          : pyexec_execute_once(executor, request, &result, &error);
    if (status < 0)
        printf("{\"error\":\"%s\"}\n", pyexec_code_name(error.code));
    else
        printf("{\"result\":%s}\n", pyexec_result_json(result));
    pyexec_result_free(result);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"give", "fail", "deny", "leave"};
    pyexec_error error;
    pyexec_executor *executor = NULL;
    char *script = NULL;
    size_t room = 0;
    if (argc != 8)
        errx(2, "seven arguments");
    if (pyexec_executor_open(argv[1], &executor, &error) < 0 ||
        (*argv[2] && pyexec_executor_set_tracing(executor, argv[2], atof(argv[3]), (unsigned)atoi(argv[4]), spans,
                                                 stdout, &error) < 0))
        errx(1, "%s: %s (%s)", pyexec_code_name(error.code), error.message, error.hint);
    while (getdelim(&script, &room, 0, stdin) > 0) {
        pyexec_request *request = pyexec_request_new();
        pyexec_request_set_code(request, script, strlen(script));
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (pyexec_request_add_tool(request, names[i], "{\"parameters\":{\"type\":\"object\"}}", tool, NULL,
                                        &error) < 0)
                errx(1, "%s", error.message);
        if (*argv[5])
            printf("{\"taken\":%d}\n", pyexec_request_set_traceparent(request, argv[5], *argv[6] ? argv[6] : NULL));
        if (pyexec_request_set_span(request, NULL, 3, NULL, NULL) == 0 ||
            pyexec_request_set_span(request, NULL, PYEXEC_SPAN_SERVER, "0000000000000000", NULL) == 0 ||
            pyexec_request_set_span(request, NULL, PYEXEC_SPAN_SERVER, NULL, "[]") == 0)
            errx(1, "a span that is not valid was taken");
        if (strstr(script, "# described") &&
            pyexec_request_set_span(
                request, "POST /v1/execute", PYEXEC_SPAN_SERVER, "00000000000000ab",
                "{\"http.route\": \"/v1/\\\"execute\", \"n\": 7, \"r\": 0.5, \"b\": true, \"no\": null}") < 0)
            errx(1, "the span was refused");
        execute(executor, request, argv[7]);
        pyexec_request_free(request);
    }
    free(script);
    pyexec_executor_free(executor);
    return 0;
}
