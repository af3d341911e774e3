/* SPDX-License-Identifier: Apache-2.0 */
/* Tools through the C API: capi_tools CONFIGURATION SESSION ("" for single runs); scripts on standard input, each ended
 * by a NUL. With a third argument the session is made first, and has its own tools: "own" with a callback, "lent" without.
 * For each script it prints the lines of the callbacks, which begin with '#', and then one line with the result. */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <pyexec.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pyexec_tool_call *held[256];
static size_t held_count;
static pyexec_request *running;

static void say(const char *what, int result, const pyexec_error *error)
{
    printf("# %s: %s\n", what, result < 0 ? pyexec_code_name(error->code) : "ok");
}

/* Answers with its arguments. */
static void echo(void *data, pyexec_tool_call *call)
{
    size_t length;
    pyexec_error error;
    const char *arguments = pyexec_tool_call_arguments(call, &length);
    (void)data;
    if (strlen(arguments) != length || pyexec_tool_call_answer(call, arguments, length, &error) < 0)
        printf("# echo: %s\n", error.message);
    pyexec_tool_call_free(call);
}

/* Answers from another thread, later. */
static void *answer_later(void *data)
{
    usleep(50000);
    echo(NULL, data);
    return NULL;
}

static void later(void *data, pyexec_tool_call *call)
{
    pthread_t thread;
    (void)data;
    if (pthread_create(&thread, NULL, answer_later, call))
        errx(1, "a thread");
    pthread_detach(thread);
}

static void fail(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    (void)data;
    say("fail", pyexec_tool_call_fail(call, "no such city", "{\"code\": 7}", &error), &error);
    pyexec_tool_call_free(call);
}

static void deny(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    (void)data;
    say("deny", pyexec_tool_call_deny(call, "not on Sundays", &error), &error);
    pyexec_tool_call_free(call);
}

static void forgets(void *data, pyexec_tool_call *call)
{
    (void)data;
    pyexec_tool_call_free(call);
}

/* Bad answers, then a good one, then a second. */
static void garbage(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    static const char *const bad[] = {"", "{", "NaN", "[1,]", "{\"a\":1,\"a\":2}", "\"\\ud800\"", "1 2"};
    char *large = malloc((8 << 20) + 3);
    (void)data;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        say(bad[i], pyexec_tool_call_answer(call, bad[i], strlen(bad[i]), &error), &error);
    memset(large, '1', (8 << 20) + 2);
    large[(8 << 20) + 2] = '\0';
    large[0] = large[(8 << 20) + 1] = '"';
    say("large", pyexec_tool_call_answer(call, large, strlen(large), &error), &error);
    free(large);
    printf("# waits: %d\n", pyexec_tool_call_waits(call));
    say("good", pyexec_tool_call_answer(call, "\"done\"", 6, &error), &error);
    say("again", pyexec_tool_call_answer(call, "\"more\"", 6, &error), &error);
    printf("# waits: %d\n", pyexec_tool_call_waits(call));
    pyexec_tool_call_free(call);
}

/* Never answers; kept until the end of the execution. */
static void never(void *data, pyexec_tool_call *call)
{
    (void)data;
    pthread_mutex_lock(&lock);
    held[held_count++] = call;
    pthread_mutex_unlock(&lock);
}

/* Holds its thread for as long as the script waits. */
static void block(void *data, pyexec_tool_call *call)
{
    (void)data;
    while (pyexec_tool_call_waits(call))
        usleep(10000);
    pyexec_tool_call_free(call);
}

static void cancel(void *data, pyexec_tool_call *call)
{
    never(data, call);
    pyexec_request_cancel(running);
}

static void interrupt(void *data, pyexec_tool_call *call)
{
    never(data, call);
    pyexec_request_interrupt(running);
}

static void large(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    char *text = malloc((8 << 20) + 1);
    (void)data;
    memset(text, 'x', 8 << 20);
    text[0] = text[(8 << 20) - 1] = '"';
    text[8 << 20] = '\0';
    if (pyexec_tool_call_answer(call, text, 8 << 20, &error) < 0)
        printf("# large: %s\n", error.message);
    free(text);
    pyexec_tool_call_free(call);
}

static const struct {
    const char *name, *schema;
    pyexec_tool_fn callback;
} tools[] = {
    {"lookup",
     "{\"description\": \"The weather of a city.\", \"parameters\": {\"type\": \"object\", \"properties\": {"
     "\"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"], \"default\": \"C\"},"
     "\"city\": {\"type\": \"string\", \"description\": \"Its name.\"},"
     "\"days\": {\"type\": \"integer\", \"minimum\": 1}}, \"required\": [\"city\"]},"
     "\"returns\": {\"type\": \"object\", \"description\": \"What was given.\"}}",
     echo},
    {"anything", "{\"parameters\": {\"type\": \"object\", \"additionalProperties\": true}}", echo},
    {"mail",
     "{\"parameters\": {\"properties\": {\"from\": {\"type\": \"string\"}, \"to\": {\"type\": \"string\"}},"
     " \"required\": [\"from\", \"to\"]}}",
     echo},
    {"later", "{\"parameters\": {\"properties\": {\"n\": {}}}}", later},
    {"fails", NULL, fail},
    {"denies", NULL, deny},
    {"forgets", NULL, forgets},
    {"garbage", NULL, garbage},
    {"never", "{\"parameters\": {\"properties\": {\"n\": {}}}}", never},
    {"blocks", NULL, block},
    {"cancels", NULL, cancel},
    {"interrupts", NULL, interrupt},
    {"large", NULL, large},
};

static void free_held(void)
{
    pyexec_error error;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < held_count; i++) {
        if (pyexec_tool_call_waits(held[i]) || pyexec_tool_call_answer(held[i], "1", 1, &error) == 0 ||
            error.code != PYEXEC_CALL_NOT_FOUND)
            printf("# a call outlived its execution\n");
        pyexec_tool_call_free(held[i]);
    }
    held_count = 0;
    pthread_mutex_unlock(&lock);
}

static void refusals(void)
{
    static const char *const names[] = {"class", "print", "_x", "tools", "aio", "ToolError", "a-b", "1a", "", "é"};
    static const char *const schemas[] = {"[]",
                                          "{",
                                          "{\"type\": 1}",
                                          "{\"parameters\": []}",
                                          "{\"parameters\": {\"type\": \"array\"}}",
                                          "{\"parameters\": {\"required\": [1]}}",
                                          "{\"approval\": true}",
                                          "{\"returns\": 1}",
                                          "{\"description\": null}"};
    pyexec_error error;
    pyexec_request *request = pyexec_request_new();
    char name[16];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        say(names[i], pyexec_request_add_tool(request, names[i], NULL, echo, NULL, &error), &error);
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
        say(schemas[i], pyexec_request_add_tool(request, "f", schemas[i], echo, NULL, &error), &error);
    static const char *const lists[] = {"{}",
                                        "[1]",
                                        "[{}]",
                                        "[{\"name\": 1}]",
                                        "[{\"name\": \"a\\u0000\"}]",
                                        "[",
                                        "1",
                                        "[{\"name\": \"f1\"}, {\"name\": \"class\"}]"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        say(lists[i], pyexec_request_add_tools(request, lists[i], echo, NULL, &error), &error);
    int added = 0;
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "f%d", i);
        added += pyexec_request_add_tool(request, name, NULL, echo, NULL, &error) == 0;
    }
    printf("# added: %d\n", added);
    pyexec_request_free(request);
}

/* Makes the session with the tools `city` and `lookup`, which the requests have too. */
static void make_session(pyexec_executor *executor, const char *id, bool own)
{
    pyexec_error error;
    static const char list[] =
        "[{\"name\": \"city\", \"parameters\": {\"properties\": {\"n\": {}}}}, {\"name\": \"lookup\"}]";
    say("bad list",
        pyexec_session_create_tools(executor, id, NULL, NULL, "[{\"name\": \"class\"}]", NULL, NULL, &error), &error);
    if (pyexec_session_create_tools(executor, id, NULL, NULL, list, own ? echo : NULL, NULL, &error) < 0)
        errx(1, "%s", error.message);
    say("again", pyexec_session_create_tools(executor, id, NULL, NULL, list, NULL, NULL, &error), &error);
    pyexec_session_list *sessions = NULL;
    if (pyexec_sessions(executor, id, &sessions, &error) < 0)
        errx(1, "%s", error.message);
    printf("# %s\n", pyexec_session_info_tools_json(pyexec_session_list_get(sessions, 0)));
    pyexec_session_list_free(sessions);
}

int main(int argc, char **argv)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    char *code = NULL;
    size_t size = 0;
    ssize_t length;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "refusals") == 0)
        return refusals(), 0;
    if (argc < 3 || pyexec_executor_open(argv[1], &executor, &error) < 0)
        errx(1, "%s", argc < 3 ? "arguments" : error.message);
    bool lent = argc > 3 && strcmp(argv[3], "lent") == 0;
    if (argc > 3)
        make_session(executor, argv[2], !lent);
    while ((length = getdelim(&code, &size, '\0', stdin)) > 0) {
        pyexec_result *result = NULL;
        pyexec_request *request = running = pyexec_request_new();
        pyexec_request_set_code(request, code, strlen(code));
        /* A script that begins with "# no" gets no tools. */
        for (size_t i = 0; strncmp(code, "# no", 4) != 0 && i < sizeof tools / sizeof *tools; i++)
            if (pyexec_request_add_tool(request, tools[i].name, tools[i].schema, tools[i].callback, NULL, &error) < 0)
                errx(1, "%s: %s", tools[i].name, error.message);
        if (strncmp(code, "# a list", 8) == 0 &&
            pyexec_request_add_tools(
                request, "[{\"name\": \"one\"}, {\"name\": \"two\", \"parameters\": {\"properties\": {\"n\": {}}}}]",
                echo, NULL, &error) < 0)
            errx(1, "%s", error.message);
        if (lent && strncmp(code, "# nobody", 8) != 0)
            pyexec_request_set_tool_callback(request, fail, NULL);
        int failed = *argv[2] ? pyexec_execute(executor, argv[2], request, &result, &error)
                              : pyexec_execute_once(executor, request, &result, &error);
        free_held();
        pyexec_request_free(request);
        if (failed < 0)
            printf("{\"failed\": \"%s\", \"message\": \"%s\"}\n", pyexec_code_name(error.code), error.message);
        else
            puts(pyexec_result_json(result));
        pyexec_result_free(result);
    }
    free(code);
    pyexec_executor_free(executor);
    return 0;
}
