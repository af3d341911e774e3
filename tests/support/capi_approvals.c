/* SPDX-License-Identifier: Apache-2.0 */
/* Approvals of tool calls through the C API: capi_approvals CONFIGURATION; scripts on standard input, each ended by a NUL.
 * The name of a tool says what its approver does; all tools answer "done". For each script it prints the lines of the
 * functions, which begin with '#', and then one line with the result. */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <pyexec.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pyexec_tool_call *kept[256];
static size_t kept_count;
static pyexec_request *running;
static atomic_int allowed_late, late_threads;

static void say(const char *what, int result, const pyexec_error *error)
{
    printf("# %s: %s\n", what, result < 0 ? pyexec_code_name(error->code) : "ok");
}

/* The callback of all tools. */
static void tool(void *data, pyexec_tool_call *call)
{
    pyexec_error error;
    (void)data;
    printf("# called %s %s\n", pyexec_tool_call_name(call), pyexec_tool_call_arguments(call, NULL));
    pyexec_tool_call_answer(call, "\"done\"", 6, &error);
    pyexec_tool_call_free(call);
}

/* ---- Approvers; each owns its call ---- */

static void allow(pyexec_tool_call *call)
{
    pyexec_error error;
    say("allow", pyexec_tool_call_allow(call, &error), &error);
    pyexec_tool_call_free(call);
}

static void deny(pyexec_tool_call *call)
{
    pyexec_error error;
    say("deny", pyexec_tool_call_deny(call, "not on Sundays", &error), &error);
    say("then allow", pyexec_tool_call_allow(call, &error), &error);
    pyexec_tool_call_free(call);
}

static void keep(pyexec_tool_call *call)
{
    pthread_mutex_lock(&lock);
    kept[kept_count++] = call;
    pthread_mutex_unlock(&lock);
}

static void twice(pyexec_tool_call *call)
{
    pyexec_error error;
    say("first", pyexec_tool_call_allow(call, &error), &error);
    say("second", pyexec_tool_call_allow(call, &error), &error);
    while (pyexec_tool_call_waits(call)) /* another thread calls the tool meanwhile */
        usleep(1000);
    say("third", pyexec_tool_call_allow(call, &error), &error);
    say("deny", pyexec_tool_call_deny(call, "too late", &error), &error);
    pyexec_tool_call_free(call);
}

static void cancel(pyexec_tool_call *call)
{
    keep(call);
    pyexec_request_cancel(running);
}

static void answer(pyexec_tool_call *call)
{
    pyexec_error error;
    say("answer", pyexec_tool_call_answer(call, "\"by the approver\"", 17, &error), &error);
    pyexec_tool_call_free(call);
}

static void *allow_later(void *data)
{
    pyexec_tool_call *call = data;
    pyexec_error error;
    usleep(20000);
    allowed_late += pyexec_tool_call_allow(call, &error) == 0;
    pyexec_tool_call_free(call);
    late_threads--;
    return NULL;
}

static void later(pyexec_tool_call *call)
{
    pthread_t thread;
    late_threads++;
    if (pthread_create(&thread, NULL, allow_later, call))
        errx(1, "a thread");
    pthread_detach(thread);
}

/* The script gives this call up. */
static void until_given_up(pyexec_tool_call *call)
{
    while (pyexec_tool_call_waits(call))
        usleep(1000);
    allow(call);
}

static const struct {
    const char *name;
    void (*decide)(pyexec_tool_call *call);
} tools[] = {{"allowed", allow},   {"denied", deny},    {"never", keep},
             {"twice", twice},     {"cancels", cancel}, {"until", until_given_up},
             {"answered", answer}, {"later", later},    {"forgotten", pyexec_tool_call_free}};

static void approve(void *data, pyexec_tool_call *call)
{
    const char *name = pyexec_tool_call_name(call);
    (void)data;
    if (strcmp(name, "later") != 0)
        printf("# asked %s %s\n", name, pyexec_tool_call_arguments(call, NULL));
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (strcmp(tools[i].name, name) == 0) {
            tools[i].decide(call);
            return;
        }
    allow(call); /* approver of a shared tool */
}

static void allow_kept(void)
{
    pthread_mutex_lock(&lock);
    while (kept_count) {
        pyexec_error error;
        pyexec_tool_call *call = kept[--kept_count];
        say("allowed after the end", pyexec_tool_call_allow(call, &error), &error);
        pyexec_tool_call_free(call);
    }
    pthread_mutex_unlock(&lock);
}

static void add_tools(pyexec_request *request, bool approver)
{
    pyexec_error error;
    static const char schema[] = "{\"approval\": true, \"parameters\": {\"properties\": {\"n\": {}}}}";
    if (approver && pyexec_request_set_approver(request, approve, NULL, &error) < 0)
        errx(1, "%s", error.message);
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        int result = pyexec_request_add_tool(request, tools[i].name, schema, tool, NULL, &error);
        if (result < 0 && approver)
            errx(1, "%s", error.message);
        if (result < 0 && i == 0)
            printf("# refused: %s\n", error.message);
    }
    if (pyexec_request_add_tool(request, "free", "{\"approval\": false}", tool, NULL, &error) < 0)
        errx(1, "%s", error.message);
}

int main(int argc, char **argv)
{
    pyexec_error error;
    pyexec_executor *executor = NULL;
    pyexec_tools *shared = pyexec_tools_new();
    char *code = NULL;
    size_t size = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || !shared || pyexec_executor_open(argv[1], &executor, &error) < 0)
        errx(1, "%s", argc < 2 ? "arguments" : error.message);
    if (pyexec_tools_add(shared, "mail", "send", "{\"approval\": true}", tool, NULL, &error) < 0)
        errx(1, "%s", error.message);
    while (getdelim(&code, &size, '\0', stdin) > 0) {
        pyexec_result *result = NULL;
        pyexec_request *request = running = pyexec_request_new();
        pyexec_request_set_code(request, code, strlen(code));
        add_tools(request, strncmp(code, "# no approver", 13) != 0);
        pyexec_request_set_tools(request, shared);
        if (pyexec_execute_once(executor, request, &result, &error) < 0)
            errx(1, "%s", error.message);
        allow_kept();
        pyexec_request_free(request); /* waits for the functions, but not for the threads that they started */
        while (late_threads)
            usleep(1000);
        if (allowed_late)
            printf("# allowed later: %d\n", allowed_late);
        puts(pyexec_result_json(result));
        pyexec_result_free(result);
    }
    free(code);
    pyexec_tools_free(shared);
    pyexec_executor_free(executor);
    return 0;
}
