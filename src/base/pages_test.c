/* SPDX-License-Identifier: Apache-2.0 */
/* Each size of a page that Linux has on x86-64 and arm64. */
#include "base/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint64_t kib = 1024, mib = 1024 * 1024;

static void test_whole_pages(void **state)
{
    const uint64_t pages[] = {4 * kib, 16 * kib, 64 * kib};
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        assert_int_equal(px_whole_pages(0, pages[i]), 0);
        assert_int_equal(px_whole_pages(1, pages[i]), pages[i]);
        assert_int_equal(px_whole_pages(pages[i], pages[i]), pages[i]);
        assert_int_equal(px_whole_pages(pages[i] + 1, pages[i]), 2 * pages[i]);
    }
    /* A value of a secret: never less than it has. */
    assert_int_equal(px_whole_pages(8003, 4 * kib), 8 * kib);
    assert_int_equal(px_whole_pages(8003, 16 * kib), 16 * kib);
    assert_int_equal(px_whole_pages(8003, 64 * kib), 64 * kib);
}

static void test_huge_pages(void **state)
{
    (void)state;
    assert_int_equal(px_huge_page_bytes(4 * kib), 2 * mib);
    assert_int_equal(px_huge_page_bytes(16 * kib), 32 * mib);
    assert_int_equal(px_huge_page_bytes(64 * kib), 512 * mib);
}

static void test_the_machines_own_size_is_one_of_them(void **state)
{
    uint64_t page = px_page_bytes();
    (void)state;
    assert_true(page == 4 * kib || page == 16 * kib || page == 64 * kib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_pages), cmocka_unit_test(test_huge_pages),
                                       cmocka_unit_test(test_the_machines_own_size_is_one_of_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
