/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *hash_of(const void *bytes, size_t length, size_t step)
{
    static char hex[PX_SHA256_HEX + 1];
    struct px_sha256 hash;
    px_sha256_init(&hash);
    for (size_t at = 0; at < length; at += step)
        px_sha256_add(&hash, (const char *)bytes + at, length - at < step ? length - at : step);
    px_sha256_end(&hash, hex);
    return hex;
}

/* FIPS 180-4's examples, and lengths around the end of a block (from sha256sum). */
static void test_known_hashes(void **state)
{
    (void)state;
    static const char letters[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const struct {
        size_t length;
        const char *hex;
    } zeros[] = {
        {55, "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7"},
        {56, "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb"},
        {64, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"},
    };
    static const char none[64];
    assert_string_equal(hash_of("", 0, 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(hash_of("abc", 3, 1), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(hash_of(letters, strlen(letters), 7),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        assert_string_equal(hash_of(none, zeros[i].length, 64), zeros[i].hex);
}

static void test_steps_make_no_difference(void **state)
{
    (void)state;
    char bytes[1000], whole[PX_SHA256_HEX + 1];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    strcpy(whole, hash_of(bytes, sizeof bytes, sizeof bytes));
    for (size_t step = 1; step < 130; step++)
        assert_string_equal(hash_of(bytes, sizeof bytes, step), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_hashes),
        cmocka_unit_test(test_steps_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
