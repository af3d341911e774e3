/* SPDX-License-Identifier: Apache-2.0 */
/* The space that files take in a tmpfs, with each size of a page that Linux has on x86-64 and arm64. */
#include "sandbox/mount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_a_file_takes_whole_pages(void **state)
{
    static const uint64_t kib = 1024, pages[] = {4 * 1024, 16 * 1024, 64 * 1024};
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        uint64_t page = pages[i];
        assert_int_equal(px_tmpfs_bytes(0, page), 0);
        assert_int_equal(px_tmpfs_bytes(1, page), page);
        assert_int_equal(px_tmpfs_bytes(page, page), page);
        assert_int_equal(px_tmpfs_bytes(page + 1, page), 2 * page);
    }
    assert_int_equal(px_tmpfs_bytes(200 * kib, 64 * kib), 256 * kib);
}

static void test_a_long_link_takes_a_page(void **state)
{
    static const uint64_t pages[] = {4 * 1024, 16 * 1024, 64 * 1024};
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        assert_int_equal(px_tmpfs_link_bytes(127, pages[i]), 0);
        assert_int_equal(px_tmpfs_link_bytes(128, pages[i]), pages[i]);
    }
}

static void test_the_smallest_size_is_a_page(void **state)
{
    static const uint64_t pages[] = {4 * 1024, 16 * 1024, 64 * 1024};
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        assert_int_equal(px_tmpfs_size(0, pages[i]), pages[i]);
        assert_int_equal(px_tmpfs_size(1, pages[i]), 1); /* the kernel rounds up */
        assert_int_equal(px_tmpfs_size(1 << 20, pages[i]), 1 << 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_file_takes_whole_pages),
                                       cmocka_unit_test(test_a_long_link_takes_a_page),
                                       cmocka_unit_test(test_the_smallest_size_is_a_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
