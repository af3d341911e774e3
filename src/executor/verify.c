/* SPDX-License-Identifier: Apache-2.0 */
/* Verify: one solution, many tests (docs/verify.md).
 *
 *   the request ─▶ source: the solution, compiled ──┬─ branch: a `stdin` test ─▶ stdout ──┐
 *               └▶ source: the solution, has run ──┬─ branch: a `call` test ──▶ value ───┼─▶ compared here
 *                                                  └─ branch: a `code` test ──▶ its end ─┘
 *
 * Tests run in lanes, each of which is a thread: the first is the caller's. The first lane keeps its turn until the end, so
 * that the executor waits for this call. Other lanes run only while turns are free that nobody waits for.
 *
 * What a test expects stays in this process. The result of a branch is hostile, as that of every run. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "base/thread.h"
#include "executor/tracing.h"
#include "executor/verify_report.h"
#include "executor/verify_source.h"
#include "policy/request.h"
#include "result/run_status.h"

#define LANES_MAX 64
#define VERIFY_ANSWER_MAX (24u << 20) /* bytes of the tests' objects together; a client's line has 32 MiB */

struct verify;

struct lane {
    struct verify *verify;
    pyexec_request *request; /* of the first lane: the caller's */
    struct px_turn *turn;    /* of the first lane: taken until the end */
    struct px_turn own;
    struct px_verify_place compiled, loaded;
    pthread_t thread;
    bool started;       /* there is a thread to join */
    _Atomic bool ended; /* it has left, because no turn was free or no test was left */
};

/* What is known about one test. */
struct outcome {
    enum px_verdict verdict;
    struct px_buffer text; /* its object in the answer */
    double cpu_ms;
};

struct verify {
    pyexec_executor *executor;
    pyexec_request *request;
    struct px_verify_tests tests;
    const struct px_policy *policy, *each; /* of the solution, and of each test */
    struct px_verify_source compiled, loaded;
    bool has_compiled, has_loaded; /* branches can be made of it */
    pyexec_result *solution;       /* of the run of the solution, or NULL */
    struct outcome *outcomes;
    struct lane lanes[LANES_MAX];
    size_t lane_count;
    int done; /* an eventfd that counts lanes that have ended */
    _Atomic size_t next;
    _Atomic bool stop;
    _Atomic bool cancelled;
    _Atomic bool sent; /* as that of a request; lanes do not write to the caller's */
    _Atomic size_t answer_bytes;
    pthread_mutex_t lock; /* protects `error` */
    pyexec_error error;   /* of the host; the first one */
};

static void fail(struct verify *verify, const pyexec_error *error)
{
    pthread_mutex_lock(&verify->lock);
    if (verify->error.code == PYEXEC_OK)
        verify->error = *error;
    pthread_mutex_unlock(&verify->lock);
    atomic_store(&verify->stop, true);
}

/* ---- One test ---- */

/* Lends the test's input to the request, which owns none of it. */
static void lend(pyexec_request *request, const struct px_verify_test *test)
{
    request->input = (char *)(uintptr_t)json_string_value(test->input);
    request->input_length = json_string_length(test->input);
    request->inputs_text = test->call;
    request->inputs_length = test->call ? strlen(test->call) : 0;
    if (test->kind == PX_VERIFY_STDIN)
        return;
    request->code = (char *)(uintptr_t)(test->code ? json_string_value(test->code) : "");
    request->code_length = json_string_length(test->code);
}

struct lent {
    pyexec_request *request;
    char *code, *input, *inputs_text;
    size_t code_length, input_length, inputs_length;
};

static struct lent keep_own(pyexec_request *request)
{
    return (struct lent){.request = request,
                         .code = request->code,
                         .input = request->input,
                         .inputs_text = request->inputs_text,
                         .code_length = request->code_length,
                         .input_length = request->input_length,
                         .inputs_length = request->inputs_length};
}

static void restore_own(const struct lent *lent)
{
    pyexec_request *request = lent->request;
    request->code = lent->code;
    request->input = lent->input;
    request->inputs_text = lent->inputs_text;
    request->code_length = lent->code_length;
    request->input_length = lent->input_length;
    request->inputs_length = lent->inputs_length;
}

/* The zygotes that the verify holds already, or NULL. If their launcher has died, px_runtime_acquire() would wait until they are
 * released, and so for ever. */
static struct px_zygote_group *held_kind(const struct verify *verify)
{
    return verify->compiled.kind ? verify->compiled.kind : verify->loaded.kind;
}

/* Runs the whole program in a process of its own, as a single run does. */
static int run_alone(struct lane *lane, pyexec_result **ret, pyexec_error *error)
{
    struct verify *verify = lane->verify;
    pyexec_executor *executor = verify->executor;
    struct px_zygote_group *kind = held_kind(verify);
    if (kind)
        px_runtime_share(executor, kind);
    else if (px_runtime_acquire(executor, verify->each, &kind, error) < 0)
        return -1;
    struct px_run_context context = px_runtime_context(executor, kind, verify->each, lane->request, lane->turn);
    context.pool = kind->pool;
    int result = px_runtime_check_limits(verify->each, kind->zygotes, error);
    if (result == 0)
        result = px_run_once(&context, ret, error);
    px_runtime_release(executor, kind);
    return result;
}

static int execute(struct lane *lane, const struct px_verify_test *test, pyexec_result **ret, pyexec_error *error)
{
    static const enum px_call_kind kinds[] = {
        [PX_VERIFY_STDIN] = PX_CALL_COMPILED, [PX_VERIFY_CALL] = PX_CALL_FUNCTION, [PX_VERIFY_CODE] = PX_CALL_TEST};
    struct verify *verify = lane->verify;
    bool whole = test->kind == PX_VERIFY_STDIN;
    if (whole && !verify->has_compiled)
        return run_alone(lane, ret, error);
    return px_verify_source_run(whole ? &verify->compiled : &verify->loaded, whole ? &lane->compiled : &lane->loaded,
                                verify->each, kinds[test->kind], lane->request, lane->turn, ret, error);
}

static int run_test(struct lane *lane, size_t index, pyexec_error *error)
{
    struct verify *verify = lane->verify;
    const struct px_verify_test *test = &verify->tests.tests[index];
    struct outcome *outcome = &verify->outcomes[index];
    pyexec_result *result = NULL;
    if (test->kind != PX_VERIFY_STDIN && !verify->has_loaded) {
        outcome->verdict = PX_VERDICT_ERROR;
        px_verdict_write(&outcome->text, &verify->tests, index, outcome->verdict, NULL, verify->solution);
        return px_buffer_ok(&outcome->text) ? 0 : px_error_oom(error);
    }
    struct lent own = keep_own(lane->request);
    lend(lane->request, test);
    int status = execute(lane, test, &result, error);
    restore_own(&own);
    if (lane->request->sent)
        atomic_store(&verify->sent, true);
    if (status < 0 && error->code == PYEXEC_SESSION_NOT_FORKABLE)
        status = px_verdict_not_forkable(&result, error);
    if (status == 0 && px_verdict_decide(&verify->tests, test, result, &outcome->verdict) < 0)
        status = px_error_oom(error);
    if (status == 0) {
        px_runtime_count(verify->executor, result);
        outcome->cpu_ms = result->cpu_ms;
        px_verdict_write(&outcome->text, &verify->tests, index, outcome->verdict, result, NULL);
        if (!px_buffer_ok(&outcome->text))
            status = px_error_oom(error);
    }
    pyexec_result_free(result);
    return status;
}

/* ---- Lanes ---- */

static bool take_index(struct verify *verify, size_t *ret)
{
    if (atomic_load(&verify->stop))
        return false;
    *ret = atomic_fetch_add(&verify->next, 1);
    return *ret < verify->tests.count;
}

static void note(struct verify *verify, size_t index)
{
    const struct outcome *outcome = &verify->outcomes[index];
    if (outcome->verdict == PX_VERDICT_CANCELLED)
        atomic_store(&verify->cancelled, true);
    if (outcome->verdict == PX_VERDICT_CANCELLED || (verify->tests.stop_on_fail && outcome->verdict != PX_VERDICT_PASS))
        atomic_store(&verify->stop, true);
    if (atomic_fetch_add(&verify->answer_bytes, outcome->text.length) + outcome->text.length > VERIFY_ANSWER_MAX) {
        pyexec_error error;
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "the answer is larger than %u MiB", VERIFY_ANSWER_MAX >> 20);
        px_error_hint(&error, "Send a smaller output_bytes, or fewer tests at once.");
        fail(verify, &error);
    }
}

static bool run_next(struct lane *lane)
{
    struct verify *verify = lane->verify;
    pyexec_error error;
    size_t index;
    if (!take_index(verify, &index))
        return false;
    if (run_test(lane, index, &error) < 0)
        fail(verify, &error);
    else
        note(verify, index);
    return true;
}

static void *lane_main(void *argument)
{
    struct lane *lane = argument;
    uint64_t one = 1;
    bool more = true;
    while (more && px_turns_try(&lane->verify->executor->turns, lane->turn)) {
        more = run_next(lane);
        px_turn_give_back(lane->turn);
    }
    atomic_store(&lane->ended, true);
    (void)!px_write(lane->verify->done, &one, sizeof one);
    return NULL;
}

/* A template costs as much as a few tests. */
static void want_templates(const struct verify *verify, struct lane *lane)
{
    enum { WORTH = 3 };
    const size_t *counts = verify->tests.counts, least = WORTH * verify->lane_count;
    lane->compiled.wanted = counts[PX_VERIFY_STDIN] >= least;
    lane->loaded.wanted = counts[PX_VERIFY_CALL] + counts[PX_VERIFY_CODE] >= least;
}

/* Without memory the other lanes do its work. */
static void make_lane(struct verify *verify, struct lane *lane)
{
    const pyexec_request *from = verify->request;
    *lane = (struct lane){.verify = verify, .request = pyexec_request_new(), .turn = &lane->own, .ended = true};
    want_templates(verify, lane);
    if (!lane->request)
        return;
    lane->request->code = from->code;
    lane->request->code_length = from->code_length;
    lane->request->env = from->env;
    lane->request->working_dir = from->working_dir;
}

static void free_lane(struct lane *lane)
{
    if (!lane->request)
        return;
    lane->request->code = NULL;
    lane->request->env = (struct px_strings){0};
    lane->request->working_dir = NULL;
    pyexec_request_free(lane->request);
}

static void join_lane(struct lane *lane)
{
    if (lane->started)
        pthread_join(lane->thread, NULL);
    lane->started = false;
}

/* Called before each test of the first lane: others may have left because no turn was free. */
static void start_lanes(struct verify *verify)
{
    for (size_t i = 1; i < verify->lane_count; i++) {
        struct lane *lane = &verify->lanes[i];
        if (!lane->request || !atomic_load(&lane->ended) || atomic_load(&verify->next) + i >= verify->tests.count ||
            !px_turns_free(&verify->executor->turns))
            continue;
        join_lane(lane);
        lane->ended = false;
        lane->started = px_thread_create(&lane->thread, lane_main, lane) == 0;
        if (!lane->started)
            lane->ended = true;
    }
}

static bool lanes_run(const struct verify *verify)
{
    bool running = false;
    for (size_t i = 1; i < verify->lane_count; i++)
        running |= !atomic_load(&verify->lanes[i].ended);
    return running;
}

/* While other lanes still run, the caller may cancel. */
static void await_lanes(struct verify *verify)
{
    bool told = false;
    while (lanes_run(verify)) {
        bool cancelled = atomic_load(&verify->cancelled);
        for (size_t i = 1; i < verify->lane_count && cancelled && !told; i++)
            if (verify->lanes[i].request)
                pyexec_request_cancel(verify->lanes[i].request);
        told |= cancelled;
        struct pollfd polled[] = {{verify->done, POLLIN, 0}, {told ? -1 : verify->request->wake, POLLIN, 0}};
        uint64_t ended;
        if (px_poll(polled, PX_COUNT(polled), -1) < 0)
            break;
        if (polled[0].revents)
            (void)!px_read(verify->done, &ended, sizeof ended);
        if (polled[1].revents && px_wake_take(verify->request->wake) &&
            atomic_exchange(&verify->request->stop, PX_STOP_NONE) == PX_STOP_CANCEL) {
            atomic_store(&verify->cancelled, true);
            atomic_store(&verify->stop, true);
        }
    }
    for (size_t i = 1; i < verify->lane_count; i++) {
        join_lane(&verify->lanes[i]);
        free_lane(&verify->lanes[i]);
    }
}

static size_t lanes_wanted(const struct verify *verify)
{
    size_t count = (size_t)verify->executor->processors;
    if (count > (size_t)verify->executor->host.max_concurrent)
        count = (size_t)verify->executor->host.max_concurrent;
    if (count > verify->tests.count)
        count = verify->tests.count;
    return count < LANES_MAX ? count : LANES_MAX;
}

static int run_tests(struct verify *verify, struct px_turn *turn, pyexec_error *error)
{
    px_auto_fd int done = eventfd(0, EFD_CLOEXEC);
    if (done < 0)
        return px_error_exhausted(error, errno, "can't make an event");
    verify->done = done;
    verify->lane_count = lanes_wanted(verify);
    for (size_t i = 1; i < verify->lane_count; i++)
        make_lane(verify, &verify->lanes[i]);
    verify->lanes[0] = (struct lane){.verify = verify, .request = verify->request, .turn = turn};
    want_templates(verify, &verify->lanes[0]);
    do
        start_lanes(verify);
    while (run_next(&verify->lanes[0]));
    await_lanes(verify);
    verify->request->sent |= atomic_load(&verify->sent);
    for (size_t i = 0; i < verify->lane_count; i++) {
        px_verify_place_done(&verify->lanes[i].compiled);
        px_verify_place_done(&verify->lanes[i].loaded);
    }
    if (verify->error.code != PYEXEC_OK)
        *error = verify->error;
    return verify->error.code == PYEXEC_OK ? 0 : -1;
}

/* ---- The sources ---- */

/* Compiling has no result of its own: when the program can't be compiled, or the compiler prints a warning, each test runs
 * alone, and shows it. */
static int compile(struct verify *verify, struct px_turn *turn, pyexec_error *error)
{
    pyexec_result *result = NULL;
    bool alive = false;
    int status = px_verify_source_start(&verify->compiled, verify->executor, verify->policy, NULL, PX_CALL_COMPILE,
                                        verify->request, turn, &result, &alive, error);
    if (status == 0)
        verify->has_compiled =
            alive && result->status == PYEXEC_STATUS_OK && !result->streams[0].bytes && !result->streams[1].bytes;
    /* This machine has no branches. */
    else if (error->code == PYEXEC_SANDBOX_UNAVAILABLE)
        status = 0;
    pyexec_result_free(result);
    return status;
}

static int load(struct verify *verify, struct px_turn *turn, pyexec_error *error)
{
    bool alive = false;
    if (px_verify_source_start(&verify->loaded, verify->executor, verify->policy, held_kind(verify), PX_CALL_SOLUTION,
                               verify->request, turn, &verify->solution, &alive, error) < 0)
        return -1;
    px_runtime_count(verify->executor, verify->solution);
    verify->has_loaded = alive && verify->solution->status == PYEXEC_STATUS_OK;
    return 0;
}

static int make_sources(struct verify *verify, struct px_turn *turn, pyexec_error *error)
{
    const size_t *counts = verify->tests.counts;
    if (counts[PX_VERIFY_STDIN] > 1 && compile(verify, turn, error) < 0)
        return -1;
    return counts[PX_VERIFY_CALL] + counts[PX_VERIFY_CODE] ? load(verify, turn, error) : 0;
}

/* ---- The answer ---- */

/* With stop_on_fail the tests after the first one that failed count as skipped, also if another lane has run them. */
static void skip_rest(struct verify *verify)
{
    size_t i = 0;
    while (i < verify->tests.count && verify->outcomes[i].verdict == PX_VERDICT_PASS)
        i++;
    if (!verify->tests.stop_on_fail)
        return;
    for (i++; i < verify->tests.count; i++) {
        px_buffer_done(&verify->outcomes[i].text);
        verify->outcomes[i] = (struct outcome){0};
    }
}

static char *compose(struct verify *verify)
{
    struct px_buffer out = {0};
    size_t counts[PX_VERDICT_COUNT] = {0};
    for (size_t i = 0; i < verify->tests.count; i++)
        counts[verify->outcomes[i].verdict]++;
    px_buffer_printf(&out, "{\"passed\":%s,\"summary\":{\"tests\":%zu",
                     counts[PX_VERDICT_PASS] == verify->tests.count ? "true" : "false", verify->tests.count);
    for (enum px_verdict verdict = 0; verdict < PX_VERDICT_COUNT; verdict++)
        px_buffer_printf(&out, ",\"%s\":%zu", px_verdict_name(verdict), counts[verdict]);
    px_buffer_add_string(&out, "},\"solution\":");
    if (verify->solution)
        px_verdict_write_solution(&out, &verify->tests, verify->solution);
    else
        px_buffer_add_string(&out, "null");
    px_buffer_add_string(&out, ",\"tests\":[");
    for (size_t i = 0; i < verify->tests.count; i++) {
        struct px_buffer *text = &verify->outcomes[i].text;
        if (!text->length)
            px_verdict_write(text, &verify->tests, i, verify->outcomes[i].verdict, NULL, NULL);
        px_buffer_add_string(&out, i ? "," : "");
        px_buffer_add_buffer(&out, text);
        px_buffer_done(text);
    }
    px_buffer_add_string(&out, "]}");
    return px_buffer_take(&out);
}

static int run(struct verify *verify, char **ret, pyexec_error *error)
{
    struct px_turn own = {0}, *turn = px_runtime_admit(verify->executor, verify->request, &own, error);
    if (!turn)
        return -1;
    int status = make_sources(verify, turn, error);
    if (status == 0)
        status = run_tests(verify, turn, error);
    px_verify_source_done(&verify->compiled);
    px_verify_source_done(&verify->loaded);
    px_runtime_leave(&own);
    if (status < 0)
        return -1;
    skip_rest(verify);
    *ret = compose(verify);
    return *ret ? 0 : px_error_oom(error);
}

/* ---- The request ---- */

/* Adds the members of `each` to the policy that the request has: all of them for the tests, and for the solution those that hold for
 * the life of a process, which tests have from it. */
static json_t *policy_with(const pyexec_request *request, const json_t *each, bool of_tests)
{
    json_t *policy = request->policy ? px_json_copy(request->policy) : json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)each, key, value) {
        enum px_policy_field field = px_policy_find(key);
        if (of_tests || field >= PX_FIELD_COUNT || !px_policy_changes_later(field))
            px_json_set(policy, key, json_incref(value));
    }
    return policy;
}

static const struct px_policy *policy_of(struct verify *verify, bool of_tests, struct px_policy *merged,
                                         pyexec_error *error)
{
    pyexec_request *request = verify->request;
    px_auto_json json_t *with = policy_with(request, verify->tests.each, of_tests);
    if (!with) {
        px_error_oom(error);
        return NULL;
    }
    json_t *before = request->policy;
    request->policy = with;
    const struct px_policy *own = &verify->executor->policy;
    const struct px_policy *policy =
        px_request_policy(request, false, own, own, verify->executor->environments, merged, error);
    request->policy = before;
    return policy && px_runtime_check(request, policy, error) == 0 ? policy : NULL;
}

static int verify_request(struct verify *verify, char **ret, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy policy = {0};
    px_auto(px_policy_done) struct px_policy each = {0};
    pyexec_request *request = verify->request;
    if (pyexec_request_set_object(request, verify->tests.rest, error) < 0 || px_request_check(request, error) < 0)
        return -1;
    verify->policy = policy_of(verify, false, &policy, error);
    verify->each = verify->policy ? policy_of(verify, true, &each, error) : NULL;
    if (!verify->each)
        return verify->policy && error->code == PYEXEC_INVALID_POLICY ? px_error_wrap(error, "each") : -1;
    verify->outcomes = calloc(verify->tests.count, sizeof *verify->outcomes);
    if (!verify->outcomes)
        return px_error_oom(error);
    return run(verify, ret, error);
}

/* The span has the CPU time of all tests. */
static void end_trace(const struct verify *verify, int status, const pyexec_error *error)
{
    pyexec_result *result = verify->request->trace && status == 0 ? px_result_new() : NULL;
    for (size_t i = 0; result && i < verify->tests.count; i++)
        result->cpu_ms += verify->outcomes[i].cpu_ms;
    px_tracing_end(verify->executor, verify->request, "verify", result, error);
    pyexec_result_free(result);
}

static void count(const struct verify *verify, pyexec_verify_counts *ret)
{
    *ret = (pyexec_verify_counts){.tests = verify->tests.count};
    for (size_t i = 0; i < verify->tests.count; i++) {
        ret->passed += verify->outcomes[i].verdict == PX_VERDICT_PASS;
        ret->cpu_ms += verify->outcomes[i].cpu_ms;
    }
}

int pyexec_verify_object(pyexec_executor *executor, pyexec_request *request, json_t *object, char **ret,
                         pyexec_verify_counts *ret_counts, pyexec_error *error)
{
    struct verify *verify = calloc(1, sizeof *verify);
    if (!verify)
        return px_error_oom(error);
    *verify = (struct verify){.executor = executor, .request = request};
    pthread_mutex_init(&verify->lock, NULL);
    px_tracing_begin(executor, request);
    struct px_trace *trace = TAKE_PTR(request->trace); /* the span is of all tests together */
    int status = px_verify_tests_read(&verify->tests, object, error);
    if (status == 0)
        status = verify_request(verify, ret, error);
    request->trace = trace;
    if (status < 0 && error->code == PYEXEC_OVERLOADED && request->sent)
        error->code = PYEXEC_INTERNAL; /* a caller may repeat what was overloaded only if nothing has run */
    end_trace(verify, status, error);
    if (status == 0 && ret_counts)
        count(verify, ret_counts);
    for (size_t i = 0; verify->outcomes && i < verify->tests.count; i++)
        px_buffer_done(&verify->outcomes[i].text);
    free(verify->outcomes);
    pyexec_result_free(verify->solution);
    px_verify_tests_done(&verify->tests);
    pthread_mutex_destroy(&verify->lock);
    free(verify);
    return status;
}

int pyexec_verify(pyexec_executor *executor, pyexec_request *request, const char *json, size_t length, char **ret,
                  pyexec_verify_counts *ret_counts, pyexec_error *error)
{
    json_error_t problem;
    px_auto_json json_t *object = px_json_read(json, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!object && px_json_no_memory(&problem))
        return px_error_oom(error);
    if (!object) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the request of verify is not JSON: %s", problem.text);
        return px_error_hint(error, "Send {\"solution\": code, \"tests\": [...]}.");
    }
    return pyexec_verify_object(executor, request, object, ret, ret_counts, error);
}
