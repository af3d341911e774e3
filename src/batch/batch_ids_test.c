/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "batch/batch_ids.h"

static void test_ids_are_found_again(void **state)
{
    struct batch_ids ids = {0};
    char id[24], hex[BATCH_HASH_HEX + 1];
    struct batch_hash hash, again;
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        hash = batch_hash_of(id, (size_t)snprintf(id, sizeof id, "id-%u", i));
        assert_null(batch_ids_find(&ids, &hash));
        batch_ids_add(&ids, &hash)->number = i & BATCH_NUMBER_MAX;
        assert_int_equal(batch_ids_add(&ids, &hash)->number, i);
    }
    assert_int_equal(ids.count, 20000);
    for (unsigned i = 0; i < 20000; i++) {
        hash = batch_hash_of(id, (size_t)snprintf(id, sizeof id, "id-%u", i));
        batch_hash_format(&hash, hex);
        assert_true(batch_hash_parse(hex, &again));
        assert_int_equal(batch_ids_find(&ids, &again)->number, i);
    }
    batch_hash_format(&(struct batch_hash){{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde}},
                      hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de"); /* of "abc", FIPS 180-4 */
    hash = batch_hash_of("abc", 3);
    batch_hash_parse(hex, &again);
    assert_memory_equal(&hash, &again, sizeof hash);
    assert_false(batch_hash_parse("BA7816bf8f01cfea414140de", &again));
    assert_false(batch_hash_parse("ba7816bf8f01", &again));
    batch_ids_done(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
