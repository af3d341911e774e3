/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/retry.h"
#include "launch/reaper.h"

#define CHILDREN 40

struct family {
    struct px_reaper reaper;
    pid_t pids[CHILDREN];
    int reported[CHILDREN]; /* how often each end was reported */
};

static void note(void *data, const siginfo_t *info, const struct rusage *usage)
{
    struct family *family = data;
    (void)usage;
    assert_int_equal(info->si_status, SIGKILL);
    for (size_t i = 0; i < CHILDREN; i++)
        family->reported[i] += family->pids[i] == info->si_pid;
}

static int set_up(void **state)
{
    struct family *family = calloc(1, sizeof *family);
    family->reaper = (struct px_reaper){.reaped = note, .data = family};
    for (size_t i = 0; i < CHILDREN; i++) {
        family->pids[i] = fork();
        if (family->pids[i] == 0)
            for (;;)
                pause();
    }
    *state = family;
    return 0;
}

/* Ends a child, and leaves it for the reaper. */
static void end(const struct family *family, size_t which)
{
    siginfo_t info;
    assert_true(family->pids[which] > 1);
    kill(family->pids[which], SIGKILL);
    assert_int_equal(px_waitid(P_PID, (id_t)family->pids[which], &info, WEXITED | WNOWAIT, NULL), 0);
}

static int tear_down(void **state)
{
    struct family *family = *state;
    for (size_t i = 0; i < CHILDREN; i++)
        if (!family->reported[i]) {
            end(family, i);
            (void)!px_waitpid(family->pids[i], NULL, 0);
        }
    free(family);
    return 0;
}

static void test_a_child_that_a_signal_named_needs_no_pass_over_the_others(void **state)
{
    struct family *family = *state;
    family->reaper.next_pass_ns = INT64_MAX; /* no pass is allowed */
    for (size_t i = CHILDREN; i-- > 0;) {
        end(family, i);
        px_reaper_signalled(&family->reaper, family->pids[i]);
        px_reaper_pass(&family->reaper);
        assert_int_equal(family->reported[i], 1);
    }
    assert_int_equal(family->reaper.passes, 0);
}

static void test_one_pass_finds_all_whose_signals_were_merged(void **state)
{
    struct family *family = *state;
    for (size_t i = 0; i < CHILDREN; i += 2)
        end(family, i);
    px_reaper_signalled(&family->reaper, family->pids[0]);
    px_reaper_pass(&family->reaper);
    for (size_t i = 0; i < CHILDREN; i++)
        assert_int_equal(family->reported[i], i % 2 == 0);
    assert_int_equal(family->reaper.passes, 1);
    assert_int_equal(family->reaper.found, CHILDREN / 2 - 1);
}

static void test_a_pass_that_was_put_off_is_still_made(void **state)
{
    struct family *family = *state;
    end(family, 0);
    end(family, 1);
    family->reaper.next_pass_ns = px_now_ns() + INT64_C(3600000) * PX_NS_PER_MS;
    px_reaper_signalled(&family->reaper, family->pids[0]);
    px_reaper_pass(&family->reaper);
    assert_int_equal(family->reported[1], 0);
    assert_in_range(px_reaper_timeout(&family->reaper), 1, 3600000);
    family->reaper.next_pass_ns = px_now_ns();
    assert_int_equal(px_reaper_timeout(&family->reaper), 0);
    px_reaper_pass(&family->reaper);
    assert_int_equal(family->reported[0] + family->reported[1], 2);
    assert_int_equal(px_reaper_timeout(&family->reaper), -1);
}

static void test_a_signal_of_a_child_that_a_pass_found_is_harmless(void **state)
{
    struct family *family = *state;
    end(family, 0);
    end(family, 1);
    px_reaper_signalled(&family->reaper, family->pids[0]);
    px_reaper_pass(&family->reaper);
    px_reaper_signalled(&family->reaper, family->pids[1]);
    px_reaper_signalled(&family->reaper, 0);
    assert_int_equal(family->reported[0] + family->reported[1], 2);
}

static void test_passes_take_at_most_a_hundredth_of_the_time(void **state)
{
    (void)state;
    assert_int_equal(px_reaper_pause_ns(5000), 0); /* cheap: at once */
    for (int64_t ns = 20000; ns <= 2 * PX_NS_PER_MS; ns += 20000)
        assert_int_equal(px_reaper_pause_ns(ns), 100 * ns < 100 * PX_NS_PER_MS ? 100 * ns : 100 * PX_NS_PER_MS);
    assert_int_equal(px_reaper_pause_ns(1000 * PX_NS_PER_MS), 100 * PX_NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_child_that_a_signal_named_needs_no_pass_over_the_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_one_pass_finds_all_whose_signals_were_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pass_that_was_put_off_is_still_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_signal_of_a_child_that_a_pass_found_is_harmless, set_up, tear_down),
        cmocka_unit_test(test_passes_take_at_most_a_hundredth_of_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
