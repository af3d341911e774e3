/* SPDX-License-Identifier: Apache-2.0 */
/* Tests turns without runs: the test says which run waits and how much memory is free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/retry.h"
#include "executor/host_memory.h"
#include "executor/turns.h"

static struct px_host_memory memory;
static atomic_bool asleep[16]; /* the index stands for a child */
static const struct px_child children[16];

void px_host_memory_read(struct px_host_memory *ret)
{
    *ret = memory;
}

void px_activity_begin(struct px_activity *activity, const struct px_child *child, int64_t cpu_ns)
{
    *activity = (struct px_activity){.child = child, .cpu_ns = cpu_ns};
}

void px_activity_end(struct px_activity *activity)
{
    *activity = (struct px_activity){0};
}

bool px_activity_waits(struct px_activity *activity, int64_t window_ns)
{
    (void)window_ns;
    return activity->child && asleep[activity->child - children];
}

static void start(struct px_turns *turns, int64_t concurrent, int64_t sleeping, int64_t queue)
{
    const struct px_host host = {.max_concurrent = concurrent, .max_asleep = sleeping, .queue_length = queue};
    const struct px_policy policy = {.address_space_bytes = 900, .workspace_bytes = 100};
    memory = (struct px_host_memory){1 << 20, 1 << 20};
    for (size_t i = 0; i < 16; i++)
        asleep[i] = false;
    px_turns_init(turns);
    px_turns_configure(turns, &host, &policy);
}

static int take(struct px_turns *turns, struct px_turn *turn, int child)
{
    pyexec_error error = {0};
    int result = px_turns_take(turns, turn, false, &error);
    if (result == 0)
        px_turn_watch(turn, &children[child], 0);
    else
        assert_int_equal(error.code, PYEXEC_OVERLOADED);
    return result;
}

/* The last measurement is old enough for another. */
static void pass_time(void)
{
    px_sleep_ns(6 * PX_NS_PER_MS);
}

static void test_only_max_concurrent_are_busy(void **state)
{
    struct px_turns turns;
    struct px_turn turn[3] = {0};
    (void)state;
    start(&turns, 2, 8, 0);
    assert_int_equal(px_turns_free(&turns), 2);
    assert_false(px_turn_is_held(&turn[0]));
    assert_int_equal(take(&turns, &turn[0], 0), 0);
    assert_int_equal(take(&turns, &turn[1], 1), 0);
    assert_true(px_turn_is_held(&turn[0]));
    assert_int_equal(px_turns_free(&turns), 0);
    assert_int_equal(take(&turns, &turn[2], 2), -1);
    px_turn_give_back(&turn[0]);
    assert_false(px_turn_is_held(&turn[0]));
    assert_int_equal(take(&turns, &turn[2], 2), 0);
    px_turn_give_back(&turn[1]);
    px_turn_give_back(&turn[2]);
    px_turn_give_back(&turn[2]); /* nothing */
    assert_int_equal(px_turns_free(&turns), 2);
    px_turns_done(&turns);
}

static void test_a_sleeping_run_gives_its_turn_up_to_max_asleep(void **state)
{
    struct px_turns turns;
    struct px_turn turn[6] = {0};
    struct px_turn_counts counts;
    (void)state;
    start(&turns, 1, 2, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&turns, &turn[i], i), 0);
        asleep[i] = true;
        pass_time();
    }
    px_turns_count(&turns, &counts);
    assert_int_equal(counts.busy, 0);
    assert_int_equal(counts.asleep, 3);
    assert_int_equal(take(&turns, &turn[3], 3), -1);
    px_turn_give_back(&turn[0]);
    assert_int_equal(take(&turns, &turn[3], 3), 0);
    px_turns_done(&turns);
}

static void test_runs_that_wake_keep_others_out(void **state)
{
    struct px_turns turns;
    struct px_turn turn[4] = {0};
    (void)state;
    start(&turns, 1, 8, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&turns, &turn[i], i), 0);
        asleep[i] = true;
        pass_time();
    }
    for (int i = 0; i < 3; i++)
        asleep[i] = false;
    pass_time();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&turns, &turn[3], 3), -1);
        px_turn_give_back(&turn[i]);
        pass_time();
    }
    assert_int_equal(take(&turns, &turn[3], 3), 0);
    px_turns_done(&turns);
}

static void test_the_hosts_part_of_a_run_is_busy(void **state)
{
    struct px_turns turns;
    struct px_turn turn[2] = {0};
    (void)state;
    start(&turns, 1, 8, 0);
    assert_int_equal(take(&turns, &turn[0], 0), 0);
    asleep[0] = true;
    pass_time();
    assert_int_equal(px_turns_free(&turns), 1);
    px_turn_watch(&turn[0], NULL, 0);
    pass_time();
    assert_int_equal(take(&turns, &turn[1], 1), -1);
    px_turns_done(&turns);
}

static void test_no_run_starts_beside_sleeping_ones_without_memory(void **state)
{
    struct px_turns turns;
    struct px_turn turn[4] = {0};
    (void)state;
    start(&turns, 2, 8, 0);
    asleep[0] = asleep[1] = asleep[2] = true;
    memory.available_bytes = 1999; /* max_concurrent is 2, and two runs may use 2000 */
    assert_int_equal(take(&turns, &turn[0], 0), 0);
    assert_int_equal(take(&turns, &turn[1], 1), 0);
    pass_time();
    assert_int_equal(take(&turns, &turn[2], 2), -1);
    memory.available_bytes = 2000;
    pass_time();
    assert_int_equal(take(&turns, &turn[2], 2), 0);
    memory = (struct px_host_memory){4000, 1000}; /* a quarter is enough on a small machine */
    pass_time();
    assert_int_equal(take(&turns, &turn[3], 3), 0);
    px_turns_done(&turns);
}

static void test_without_max_asleep_a_sleeping_run_keeps_its_turn(void **state)
{
    struct px_turns turns;
    struct px_turn turn[2] = {0};
    (void)state;
    start(&turns, 1, 0, 0);
    assert_int_equal(take(&turns, &turn[0], 0), 0);
    asleep[0] = true;
    pass_time();
    assert_int_equal(take(&turns, &turn[1], 1), -1);
    px_turns_done(&turns);
}

/* ---- Waiting ---- */

struct waiting {
    struct px_turns *turns;
    struct px_turn turn;
    int number, result;
    pyexec_code code;
    pthread_t thread;
};
static atomic_int order[16], order_length;

static void *wait_for_turn(void *argument)
{
    struct waiting *waiting = argument;
    pyexec_error error = {0};
    waiting->result = px_turns_take(waiting->turns, &waiting->turn, waiting->number < 0, &error);
    waiting->code = error.code;
    if (waiting->result == 0)
        order[order_length++] = waiting->number;
    return NULL;
}

static void begin_to_wait(struct px_turns *turns, struct waiting *waiting, int number, size_t place)
{
    struct px_turn_counts counts = {0};
    *waiting = (struct waiting){.turns = turns, .number = number};
    assert_int_equal(pthread_create(&waiting->thread, NULL, wait_for_turn, waiting), 0);
    while (counts.queued != place) {
        px_sleep_ns(PX_NS_PER_MS);
        px_turns_count(turns, &counts);
    }
}

static void test_turns_go_by_arrival_and_to_whom_waits_when_one_falls_asleep(void **state)
{
    struct px_turns turns;
    struct px_turn first = {0};
    struct waiting waiting[4];
    (void)state;
    order_length = 0;
    start(&turns, 1, 8, 3);
    assert_int_equal(take(&turns, &first, 0), 0);
    for (int i = 0; i < 3; i++)
        begin_to_wait(&turns, &waiting[i], i + 1, (size_t)i + 1);
    struct px_turn refused = {0};
    assert_int_equal(take(&turns, &refused, 5), -1); /* queue_length */
    begin_to_wait(&turns, &waiting[3], -1, 4);       /* with `patient` it is not refused */
    asleep[0] = true;                                /* the one that waits must find this out itself */
    pthread_join(waiting[0].thread, NULL);
    for (int i = 0; i < 3; i++) {
        px_turn_give_back(&waiting[i].turn);
        pthread_join(waiting[i + 1].thread, NULL);
    }
    assert_int_equal(order_length, 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1);
    assert_int_equal(order[3], -1);
    px_turns_done(&turns);
}

static void test_closing_ends_every_wait(void **state)
{
    struct px_turns turns;
    struct px_turn first = {0};
    struct waiting waiting[3];
    (void)state;
    start(&turns, 1, 8, 8);
    assert_int_equal(take(&turns, &first, 0), 0);
    for (int i = 0; i < 3; i++)
        begin_to_wait(&turns, &waiting[i], i, (size_t)i + 1);
    px_turns_close(&turns);
    for (int i = 0; i < 3; i++) {
        pthread_join(waiting[i].thread, NULL);
        assert_int_equal(waiting[i].result, -1);
        assert_int_equal(waiting[i].code, PYEXEC_SHUTTING_DOWN);
    }
    assert_false(px_turns_await_end(&turns));
    px_turn_give_back(&first);
    assert_true(px_turns_await_end(&turns));
    px_turns_done(&turns);
}

static void test_jobs_wait_in_the_same_queue_and_have_a_turn_each(void **state)
{
    struct px_turns turns;
    struct px_turn first = {0};
    struct waiting thread;
    struct px_turn_job jobs[3] = {0}, late = {0};
    pyexec_error error = {0};
    (void)state;
    order_length = 0;
    start(&turns, 1, 0, 4);
    jobs[0].waiter.entry.session = jobs[1].waiter.entry.session = "s";
    assert_int_equal(take(&turns, &first, 0), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(px_turns_add(&turns, &jobs[i], "ann", &error), 0);
    assert_int_equal(px_turns_add(&turns, &late, "ann", &error), -1); /* half of the queue */
    assert_int_equal(error.code, PYEXEC_OVERLOADED);
    assert_int_equal(px_turns_add(&turns, &jobs[2], "bob", &error), 0);
    begin_to_wait(&turns, &thread, 7, 4);
    px_turn_give_back(&first);
    assert_ptr_equal(px_turns_next(&turns), &jobs[0]);
    assert_true(px_turn_is_held(&jobs[0].turn));
    assert_int_equal(px_turns_free(&turns), 0);
    px_turn_job_end(&turns, &jobs[0]);
    px_turn_job_end(&turns, &jobs[0]); /* nothing */
    assert_ptr_equal(px_turns_next(&turns), &jobs[2]);
    px_turn_job_end(&turns, &jobs[2]);
    pthread_join(thread.thread, NULL);
    assert_int_equal(order[0], 7);
    px_turn_give_back(&thread.turn);
    assert_ptr_equal(px_turns_next(&turns), &jobs[1]);
    px_turn_job_end(&turns, &jobs[1]);
    px_turns_done(&turns);
}

static bool begins(struct px_turns *turns, struct px_turn_job *job, const char *principal)
{
    pyexec_error error = {0};
    bool begun;
    assert_int_equal(px_turns_begin(turns, job, principal, &begun, &error), 0);
    assert_true(begun == px_turn_is_held(&job->turn));
    return begun;
}

static void test_a_job_begins_at_once_only_with_a_free_turn_and_nobody_before_it(void **state)
{
    struct px_turns turns;
    struct px_turn_job jobs[2] = {0}, refused[4] = {0}, waits = {0};
    pyexec_error error = {0};
    bool begun;
    (void)state;
    start(&turns, 2, 0, 4);
    assert_int_equal(px_turns_limit(&turns, "slow", 0, 1, &error), 0);
    jobs[0].waiter.entry.session = refused[0].waiter.entry.session = "s";
    assert_true(begins(&turns, &jobs[0], "ann"));
    assert_false(begins(&turns, &refused[0], "ann")); /* a call of this session is in progress */
    assert_true(begins(&turns, &jobs[1], "slow"));
    assert_false(begins(&turns, &refused[1], "bob")); /* no turn is free */
    assert_int_equal(px_turns_add(&turns, &waits, "ann", &error), 0);
    px_turn_job_end(&turns, &jobs[0]);
    assert_false(begins(&turns, &refused[2], "ann")); /* another job waits before it */
    assert_ptr_equal(px_turns_next(&turns), &waits);
    px_turn_job_end(&turns, &waits);
    assert_int_equal(px_turns_begin(&turns, &refused[3], "slow", &begun, &error), -1); /* only one a second */
    assert_int_equal(error.code, PYEXEC_OVERLOADED);
    assert_int_equal(error.sys_errno, EAGAIN);
    struct px_turn_counts counts;
    px_turns_count(&turns, &counts);
    assert_int_equal(counts.queued, 0); /* what could not begin was not added */
    assert_int_equal(counts.busy, 1);
    px_turn_job_end(&turns, &jobs[1]);
    px_turns_close(&turns);
    assert_false(begins(&turns, &refused[1], "bob"));
    px_turns_done(&turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_max_concurrent_are_busy),
        cmocka_unit_test(test_a_sleeping_run_gives_its_turn_up_to_max_asleep),
        cmocka_unit_test(test_runs_that_wake_keep_others_out),
        cmocka_unit_test(test_the_hosts_part_of_a_run_is_busy),
        cmocka_unit_test(test_no_run_starts_beside_sleeping_ones_without_memory),
        cmocka_unit_test(test_without_max_asleep_a_sleeping_run_keeps_its_turn),
        cmocka_unit_test(test_turns_go_by_arrival_and_to_whom_waits_when_one_falls_asleep),
        cmocka_unit_test(test_closing_ends_every_wait),
        cmocka_unit_test(test_jobs_wait_in_the_same_queue_and_have_a_turn_each),
        cmocka_unit_test(test_a_job_begins_at_once_only_with_a_free_turn_and_nobody_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
