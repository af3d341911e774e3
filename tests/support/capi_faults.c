/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection through the C API, with tests/support/fault_shim.c preloaded.
 *
 *     capi_faults SCENARIO KIND ERRNO MODE STRIDE
 *
 * Runs the scenario again and again. In the first pass the 1st call of KIND fails, then the 2nd, the 3rd and so on, until
 * no call fails in a pass. With the MODE "onward" all later calls fail too; with "once" they do not. A pass must give the
 * right result, or an error of the host that names what failed. Everything else is printed and counted. After each pass an
 * ordinary run must be right. Prints the number of passes. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pyexec.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct control {
    _Atomic uint32_t generation;
    uint32_t kind, error, onward;
    _Atomic uint64_t n;
    _Atomic uint64_t count, fired;
    char where[240];
};

#define POLICY \
    "\"python_bin\":\"/usr/bin/python3\",\"disable_open\":false,\"use_import_whitelist\":false,\"banned_imports\":[\"socket\"],\"block_dunder_imports\":false"
#define CONFIG "{\"policy\":{" POLICY "},\"host\":{\"pool_size\":0,\"zygotes\":1}}"

/* Output, a value, its JSON, a display, a file that comes back, a denial, an input. */
static const char good[] =
    "{\"code\":\"import sys\\nprint('x' * 3000, end='')\\nprint('\\u00e9' * 40, file=sys.stderr)\\n"
    "class D:\\n    def __repr__(self): return 'D()'\\n    def _repr_html_(self): return '<b>bold</b>'\\ndisplay(D())\\n"
    "try:\\n    import socket\\nexcept ImportError: pass\\n"
    "open('out', 'w').write(open('in').read() * 2)\\n{'n': n, 'long': 'y' * 200}\","
    "\"files\":{\"in\":\"0123456789\"},\"return_files\":[\"out\"],\"inputs\":{\"n\":[1,2.5,\"three\"]},"
    "\"value_json\":\"records\",\"stdin\":\"typed\",\"env\":{\"A\":\"B\"}}";
static const char bad[] = "{\"code\":\"def f(n):\\n    return undefined_name + n\\nf(1)\"}";
static const char late[] = "{\"code\":\"while True: pass\",\"timeout_ms\":30}";

static struct control *control;
static pyexec_executor *executor;
static int faults;
static bool armed;
static pyexec_error last;

static bool fail(const char *what, const char *detail)
{
    uint64_t n = control->n;
    control->n = 0;
    faults++;
    printf("FAULT n=%llu count=%llu %s: %s [%s]\n", (unsigned long long)n, (unsigned long long)control->count, what,
           detail, control->where);
    fflush(stdout);
    return false;
}

/* Checks a failure: it must have a code for errors of the host, and say what failed. */
static bool judge(const pyexec_error *error)
{
    char text[1400];
    snprintf(text, sizeof text, "%s: %s", pyexec_code_name(error->code), error->message);
    if (!armed || !control->fired)
        return fail("an error without a fault", text);
    if (error->code != PYEXEC_INTERNAL && error->code != PYEXEC_OVERLOADED && error->code != PYEXEC_SANDBOX_UNAVAILABLE)
        return fail("the wrong one is blamed", text);
    if (!*error->message || !*error->hint)
        return fail("an error without words", text);
    last = *error;
    return true;
}

/* The result without what differs from run to run. */
static char *shown(pyexec_result *result)
{
    const char *json = pyexec_result_json(result);
    if (!json)
        return NULL;
    uint64_t n = control->n;
    control->n = 0;
    char *copy = malloc(strlen(json) + 1), *to = copy;
    control->n = n;
    for (const char *at = json; *at;) {
        static const char *const keys[] = {"\"wall_ms\":", "\"cpu_ms\":", "\"peak_memory_bytes\":", "\"restarted\":"};
        size_t i = 0;
        while (i < 4 && strncmp(at, keys[i], strlen(keys[i])) != 0)
            i++;
        if (i < 4)
            for (at += strlen(keys[i]); *at != ',' && *at != '}'; at++)
                ;
        else
            *to++ = *at++;
    }
    *to = 0;
    return copy;
}

/* Makes one call. If *wanted is NULL, it becomes the result; else the result must be equal to it. */
static bool call(const char *session, const char *json, char **wanted)
{
    pyexec_error error = {0};
    pyexec_result *result = NULL;
    pyexec_request *request = pyexec_request_new();
    bool fine = true;
    if (!request)
        return control->fired || fail("no request", "");
    if (pyexec_request_set_json(request, json, strlen(json), &error) < 0 ||
        (session ? pyexec_execute(executor, session, request, &result, &error)
                 : pyexec_execute_once(executor, request, &result, &error)) < 0)
        fine = judge(&error);
    if (result) {
        char *text = shown(result);
        uint64_t armed_n = control->n;
        if (!text && !control->fired)
            fine = fail("a result without JSON", "");
        control->n = 0;
        if (text && !*wanted)
            *wanted = strdup(text);
        else if (text && strcmp(text, *wanted) != 0) {
            control->n = armed_n;
            size_t i = 0;
            while (text[i] && text[i] == (*wanted)[i])
                i++;
            char detail[760];
            snprintf(detail, sizeof detail, "got …%.300s instead of …%.300s", text + (i > 60 ? i - 60 : 0),
                     *wanted + (i > 60 ? i - 60 : 0));
            fine = fail("a wrong result", detail);
        }
        control->n = armed_n;
        free(text);
    }
    pyexec_result_free(result);
    pyexec_request_free(request);
    return fine;
}

static bool open_executor(void)
{
    pyexec_error error = {0};
    if (pyexec_executor_open(CONFIG, &executor, &error) == 0)
        return true;
    judge(&error);
    return false;
}

/* ---- Scenarios ---- */

static char *want_good, *want_bad, *want_late, *want_session, *want_first, *want_ping;

static const char ping[] = "{\"code\":\"6 * 7\"}";

static void once(void)
{
    call(NULL, good, &want_good);
}
static void error_run(void)
{
    call(NULL, bad, &want_bad);
}
static void late_run(void)
{
    call(NULL, late, &want_late);
}

static void session(void)
{
    pyexec_error error;
    char *text = NULL;
    if (call("s", "{\"code\":\"v = 41\\nv\"}", &want_first)) {
        if (pyexec_sessions_json(executor, &text, &error) < 0)
            judge(&error);
        free(text);
        text = NULL;
        if (pyexec_stats_json(executor, &text, &error) < 0)
            judge(&error);
        free(text);
    }
    if (pyexec_session_close(executor, "s", &error) < 0 && error.code != PYEXEC_SESSION_NOT_FOUND)
        judge(&error);
}

/* The session exists before the fault. A call of it may fail, but if its state is lost, the result must say so. */
static void later(void)
{
    call("kept", "{\"code\":\"v + 1\"}", &want_session);
}

static void restore(void)
{
    pyexec_error error;
    char *ignored = NULL;
    pyexec_session_close(executor, "kept", &error);
    call("kept", "{\"code\":\"v = 41\"}", &ignored);
    free(ignored);
}

static void cold(void)
{
    if (open_executor())
        call(NULL, ping, &want_ping);
    pyexec_executor_free(executor);
    executor = NULL;
}

static const struct {
    const char *name;
    void (*run)(void);
    void (*before)(void);
    bool own_executor;
} scenarios[] = {
    {"once", once, NULL, false},       {"error", error_run, NULL, false}, {"late", late_run, NULL, false},
    {"session", session, NULL, false}, {"later", later, restore, false},  {"cold", cold, NULL, true},
};

static int count_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Those of a run are closed when its process has ended, soon after the run (runner/exits.h). */
static int settled_descriptors(void)
{
    int found = count_entries("/proc/self/fd");
    for (int same = 0; same < 20; same++) {
        usleep(10000);
        int now = count_entries("/proc/self/fd");
        same = now == found ? same : 0;
        found = now;
    }
    return found;
}

int main(int argc, char **argv)
{
    struct control *(*get)(void) = (struct control * (*)(void)) dlsym(RTLD_DEFAULT, "fault_control");
    size_t s = 0;
    if (argc != 6 || !get)
        return 2;
    control = get();
    while (strcmp(scenarios[s].name, argv[1]) != 0)
        s++;
    long stride = atol(argv[5]), n, passes = 0;
    if (!scenarios[s].own_executor && !open_executor())
        return 2;
    for (int warm = 0; warm < 3; warm++) {
        want_first = NULL;
        if (scenarios[s].before)
            scenarios[s].before();
        scenarios[s].run();
        if (!scenarios[s].own_executor)
            call(NULL, ping, &want_ping);
    }
    if (getenv("FAULT_FDS"))
        system("ls -l /proc/$PPID/fd >&2");
    int descriptors = settled_descriptors();
    for (n = 1; faults < 20; n += stride) {
        alarm(60);
        if (scenarios[s].before)
            scenarios[s].before();
        control->kind = (uint32_t)atoi(argv[2]);
        control->error = (uint32_t)atoi(argv[3]);
        control->onward = strcmp(argv[4], "onward") == 0;
        control->count = control->fired = 0;
        control->where[0] = 0;
        control->generation++;
        armed = true;
        control->n = (uint64_t)n;
        scenarios[s].run();
        control->n = 0;
        bool fired = control->fired;
        passes++;
        if (scenarios[s].own_executor)
            armed = open_executor() && false;
        armed = false;
        call(NULL, ping, &want_ping);
        if (scenarios[s].own_executor) {
            pyexec_executor_free(executor);
            executor = NULL;
        }
        if (!fired)
            break;
    }
    int left = settled_descriptors();
    for (int i = 0; i < 20 && left > descriptors; i++)
        left = settled_descriptors();
    if (left > descriptors) {
        char text[60];
        snprintf(text, sizeof text, "%d at first, %d are left", descriptors, left);
        fail("descriptors", text);
        if (getenv("FAULT_FDS") && system("ls -l /proc/$PPID/fd >&2") != 0)
            perror("ls");
    }
    pyexec_executor_free(executor);
    printf("%ld passes, %d faults; last error: %s: %s\n", passes, faults, pyexec_code_name(last.code), last.message);
    return faults != 0;
}
