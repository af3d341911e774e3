/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/bench_histogram.h"

static void test_an_empty_histogram_has_no_percentile(void **state)
{
    (void)state;
    static const struct bench_histogram empty;
    assert_int_equal(bench_histogram_percentile(&empty, 99), 0);
    assert_int_equal(bench_histogram_below(&empty, 41), 0);
}

static void test_a_percentile_is_by_nearest_rank_and_at_most_0_8_percent_too_long(void **state)
{
    (void)state;
    static struct bench_histogram histogram;
    for (int64_t i = 1; i <= 1000; i++)
        bench_histogram_add(&histogram, i * 1000);
    const struct {
        double percent;
        int64_t exact;
    } cases[] = {{50, 500000}, {90, 900000}, {99, 990000}, {99.9, 999000}, {100, 1000000}, {0.1, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = bench_histogram_percentile(&histogram, cases[i].percent);
        assert_in_range(got, cases[i].exact, cases[i].exact * 1008 / 1000);
    }
    assert_int_equal(histogram.max_ns, 1000000);
}

static void test_each_length_of_time_is_kept(void **state)
{
    (void)state;
    for (int exponent = 0; exponent < 42; exponent++)
        for (int64_t beside = -1; beside <= 1; beside++) {
            static struct bench_histogram histogram;
            histogram = (struct bench_histogram){0};
            int64_t ns = (INT64_C(1) << exponent) + beside;
            bench_histogram_add(&histogram, ns);
            bench_histogram_add(&histogram, INT64_C(1) << 41);
            assert_in_range(bench_histogram_percentile(&histogram, 50), ns, ns + ns / 128);
            assert_int_equal(bench_histogram_below(&histogram, exponent), beside < 0 || exponent == 42);
        }
}

static void test_times_beyond_all_bounds_are_counted(void **state)
{
    (void)state;
    static struct bench_histogram histogram;
    bench_histogram_add(&histogram, -5);
    bench_histogram_add(&histogram, INT64_MAX);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(bench_histogram_percentile(&histogram, 50), 0);
    assert_true(bench_histogram_percentile(&histogram, 99) == INT64_MAX);
}

static void test_merged_histograms_are_as_one(void **state)
{
    (void)state;
    static struct bench_histogram one, other, both;
    for (int64_t i = 0; i < 5000; i++) {
        int64_t ns = i * i * 37 % 9000011;
        bench_histogram_add(i % 3 ? &one : &other, ns);
        bench_histogram_add(&both, ns);
    }
    bench_histogram_merge(&one, &other);
    assert_memory_equal(&one, &both, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_histogram_has_no_percentile),
        cmocka_unit_test(test_a_percentile_is_by_nearest_rank_and_at_most_0_8_percent_too_long),
        cmocka_unit_test(test_each_length_of_time_is_kept),
        cmocka_unit_test(test_times_beyond_all_bounds_are_counted),
        cmocka_unit_test(test_merged_histograms_are_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
