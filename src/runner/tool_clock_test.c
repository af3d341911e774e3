/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tool_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

#define MS PX_NS_PER_MS
#define START (1000 * MS)

/* Begins a call at START, when the process had used 50 ms. */
static struct px_tool_clock begun(void)
{
    struct px_tool_clock clock = {0};
    assert_true(px_tool_clock_is_due(&clock, START));
    assert_int_equal(px_tool_clock_look(&clock, START, 50 * MS), 0);
    px_tool_clock_set(&clock, true, START);
    return clock;
}

static void test_a_sleeping_process_only_waits(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    assert_int_equal(px_tool_clock_look(&clock, START + 100 * MS, 50 * MS), 100 * MS);
    assert_int_equal(px_tool_clock_look(&clock, START + 5100 * MS, 50 * MS + MS / 2), 5000 * MS);
    assert_int_equal(clock.total_ns, 5100 * MS);
}

static void test_a_hundredth_of_a_cpu_is_work(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    assert_int_equal(px_tool_clock_look(&clock, START + 100 * MS, 51 * MS), 0);
    assert_int_equal(px_tool_clock_look(&clock, START + 200 * MS, 52 * MS - 1), 100 * MS);
    assert_int_equal(px_tool_clock_look(&clock, START + 300 * MS, 152 * MS), 0);
}

/* In a long stretch, each hundredth may belong to another window. */
static void test_work_in_a_long_stretch_counts_at_its_worst(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    assert_int_equal(px_tool_clock_look(&clock, START + 5000 * MS, 53 * MS), 4700 * MS);
    assert_int_equal(px_tool_clock_look(&clock, START + 10000 * MS, 113 * MS), 0);
}

static void test_only_time_with_a_call_under_way_is_waiting(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    px_tool_clock_set(&clock, false, START + 30 * MS);
    assert_int_equal(px_tool_clock_next(&clock), INT64_MAX);
    px_tool_clock_set(&clock, true, START + 70 * MS);
    assert_int_equal(px_tool_clock_look(&clock, START + 100 * MS, 50 * MS), 60 * MS);
    px_tool_clock_set(&clock, false, START + 110 * MS);
    assert_int_equal(px_tool_clock_look(&clock, START + 300 * MS, 50 * MS), 10 * MS);
    assert_int_equal(clock.total_ns, 70 * MS);
}

static void test_looks_get_rare_while_the_process_sleeps(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    int64_t now = START, looks = 0;
    assert_int_equal(px_tool_clock_next(&clock), START + 100 * MS);
    for (; now < START + 3600 * 1000 * MS; looks++) {
        now = px_tool_clock_next(&clock);
        px_tool_clock_look(&clock, now, 50 * MS);
    }
    assert_in_range(looks, 700, 740);
    px_tool_clock_look(&clock, now + 100 * MS, 60 * MS);
    assert_int_equal(px_tool_clock_next(&clock), now + 200 * MS);
}

static void test_what_can_not_be_measured_is_work(void **state)
{
    (void)state;
    struct px_tool_clock clock = begun();
    assert_int_equal(px_tool_clock_look(&clock, START + 100 * MS, -1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sleeping_process_only_waits),
        cmocka_unit_test(test_a_hundredth_of_a_cpu_is_work),
        cmocka_unit_test(test_work_in_a_long_stretch_counts_at_its_worst),
        cmocka_unit_test(test_only_time_with_a_call_under_way_is_waiting),
        cmocka_unit_test(test_looks_get_rare_while_the_process_sleeps),
        cmocka_unit_test(test_what_can_not_be_measured_is_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
