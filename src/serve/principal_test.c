/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "serve/principal.h"

static char path[] = "/tmp/pyexec-test-principals.XXXXXX";

static void write_file(const char *text, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Writes the SHA-256 of the token in hexadecimal digits. */
static const char *hash(const char *token)
{
    static char text[4][65];
    static unsigned next;
    unsigned char bytes[32];
    char *to = text[next++ % 4];
    assert_int_equal(EVP_Digest(token, strlen(token), bytes, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
    return to;
}

static void load(struct px_principals *principals, const char *text)
{
    pyexec_error error = {0};
    write_file(text, strlen(text));
    if (px_principals_init(principals, path, &error) < 0)
        fail_msg("%s", error.message);
}

static void test_a_token_finds_its_principal_alone(void **state)
{
    struct px_principals principals;
    char text[400], header[80];
    (void)state;
    snprintf(text, sizeof text,
             "# who\n\n  ann sha256:%s\r\nbob  sha256:%s\trate=2.5 max_concurrent=3 max_sessions=4 mcp_servers=a,b",
             hash("a-token"), hash("b-token"));
    load(&principals, text);
    struct px_principal *ann = px_principals_find(&principals, "Bearer a-token");
    struct px_principal *bob = px_principals_find(&principals, "bearer   b-token");
    assert_non_null(ann);
    assert_non_null(bob);
    assert_string_equal(ann->name, "ann");
    assert_string_equal(bob->name, "bob");
    assert_ptr_equal(px_principals_find_token(&principals, "b-token"), bob);
    assert_true(ann->rate == 0 && ann->max_concurrent == 0 && ann->max_sessions == 0);
    px_auto_free char *none = px_principals_servers(&principals, ann), *two = px_principals_servers(&principals, bob);
    assert_string_equal(none, "");
    assert_string_equal(two, "a,b");
    assert_true(bob->rate == 2.5 && bob->max_concurrent == 3 && bob->max_sessions == 4);
    static const char *const bad[] = {NULL,
                                      "",
                                      "Bearer",
                                      "Bearer ",
                                      "a-token",
                                      "Basic a-token",
                                      "Bearer a-tokens",
                                      "Bearer a-toke",
                                      "Bearer a-token "};
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        assert_null(px_principals_find(&principals, bad[i]));
    snprintf(header, sizeof header, "Bearer %s", hash("a-token"));
    assert_null(px_principals_find(&principals, header));
    px_principals_done(&principals);
}

static void test_the_digits_of_a_hash_may_be_capitals(void **state)
{
    struct px_principals principals;
    char text[200], capitals[65];
    (void)state;
    snprintf(capitals, sizeof capitals, "%s", hash("t"));
    for (char *c = capitals; *c; c++)
        if (*c >= 'a')
            *c = (char)(*c - 'a' + 'A');
    snprintf(text, sizeof text, "ann sha256:%s\n", capitals);
    load(&principals, text);
    assert_non_null(px_principals_find_token(&principals, "t"));
    px_principals_done(&principals);
}

/* Returns JSON text, which the caller frees. */
static char *ceiling_of(struct px_principals *principals, const struct px_principal *principal)
{
    return px_json_take_text(px_principals_ceiling(principals, principal));
}

static void test_a_ceiling_has_what_the_line_sets(void **state)
{
    struct px_principals principals;
    char text[300];
    (void)state;
    snprintf(text, sizeof text, "ann sha256:%s timeout=2s max_displays=7\nbob sha256:%s\n", hash("a"), hash("b"));
    load(&principals, text);
    px_auto_free char *anns = ceiling_of(&principals, px_principals_find_token(&principals, "a"));
    px_auto_free char *bobs = ceiling_of(&principals, px_principals_find_token(&principals, "b"));
    px_auto_free char *locals = ceiling_of(&principals, &principals.local);
    assert_non_null(strstr(anns, "\"timeout_ms\":2000"));
    assert_non_null(strstr(anns, "\"max_displays\":7"));
    assert_null(strstr(anns, "max_open_files"));
    assert_string_equal(bobs, "{}");
    assert_string_equal(locals, "{}");
    px_principals_done(&principals);
}

/* Each bad line comes after a good one. The message names the file, the line and the error. */
static void test_a_bad_line_is_refused_with_its_number(void **state)
{
    char hash_of_a[65];
    snprintf(hash_of_a, sizeof hash_of_a, "%s", hash("a"));
    const struct {
        const char *name, *rest, *message;
    } rows[] = {
        {"local", "", "'local' can't be"},
        {"loopback", "", "'loopback' can't be"},
        {".", "", "'.' can't be"},
        {"..", "", "'..' can't be"},
        {"a/b", "", "'a/b' can't be"},
        {"a234567890123456789012345678901234567890123456789012345678901234x", "", "can't be"},
        {"eve", "timeout", "'timeout' is not of the form key=value"},
        {"eve", "rate=0", "rate: '0' is not a number above 0"},
        {"eve", "rate=-1", "rate"},
        {"eve", "rate=nan", "rate"},
        {"eve", "rate=2x", "rate"},
        {"eve", "max_sessions=1000001", "max_sessions"},
        {"eve", "max_concurrent=", "max_concurrent"},
        {"eve", "tiemout=2s", "tiemout"},
        {"eve", "timeout=soon", "timeout"},
        {"ann", "", "'ann' appears twice"},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct px_principals principals;
        pyexec_error error = {0};
        char text[500];
        snprintf(text, sizeof text, "ann sha256:%s\n\n%s sha256:%s %s\n", hash_of_a, rows[i].name, hash("b"),
                 rows[i].rest);
        write_file(text, strlen(text));
        assert_int_equal(px_principals_init(&principals, path, &error), -1);
        assert_int_equal(error.code, PYEXEC_INVALID_POLICY);
        if (!strstr(error.message, rows[i].message) || !strstr(error.message, "line 3") ||
            !strstr(error.message, path) || !*error.hint)
            fail_msg("%s (%s), not '%s'", error.message, error.hint, rows[i].message);
        px_principals_done(&principals);
    }
}

static void test_hashes_that_are_none(void **state)
{
    static const char *const hashes[] = {"",
                                         "sha256:",
                                         "sha256:00",
                                         "md5:d41d8cd98f00b204e9800998ecf8427e",
                                         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                         "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85g",
                                         "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555"};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(hashes); i++) {
        struct px_principals principals;
        pyexec_error error = {0};
        char text[200];
        snprintf(text, sizeof text, "ann %s\n", hashes[i]);
        write_file(text, strlen(text));
        assert_int_equal(px_principals_init(&principals, path, &error), -1);
        assert_non_null(strstr(error.message, "no sha256:HEX after 'ann'"));
        px_principals_done(&principals);
    }
}

static void test_a_token_belongs_to_one(void **state)
{
    struct px_principals principals;
    pyexec_error error = {0};
    char text[300];
    (void)state;
    snprintf(text, sizeof text, "ann sha256:%s\nbob sha256:%s\n", hash("a"), hash("a"));
    write_file(text, strlen(text));
    assert_int_equal(px_principals_init(&principals, path, &error), -1);
    assert_non_null(strstr(error.message, "line 2: the token of 'bob' appears twice"));
    px_principals_done(&principals);
}

static void test_files_that_are_not_taken(void **state)
{
    struct px_principals principals;
    pyexec_error error = {0};
    char text[200];
    (void)state;
    assert_int_equal(px_principals_init(&principals, "/nowhere/tokens", &error), -1);
    assert_non_null(strstr(error.message, "can't read '/nowhere/tokens'"));
    px_principals_done(&principals);
    int length = snprintf(text, sizeof text, "ann sha256:%s\n", hash("a"));
    text[length++] = '\0';
    write_file(text, (size_t)length);
    assert_int_equal(px_principals_init(&principals, path, &error), -1);
    assert_non_null(strstr(error.message, "NUL"));
    px_principals_done(&principals);
    write_file(text, (size_t)length - 1);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(px_principals_init(&principals, path, &error), -1);
    assert_non_null(strstr(error.message, "others may write"));
    assert_string_equal(error.hint, "chmod 600 it.");
    px_principals_done(&principals);
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_a_new_file_replaces_the_old_one_or_nothing(void **state)
{
    struct px_principals principals;
    pyexec_error error = {0};
    char text[400];
    (void)state;
    snprintf(text, sizeof text, "ann sha256:%s rate=1\nbob sha256:%s\n", hash("a"), hash("b"));
    load(&principals, text);
    struct px_principal *ann = px_principals_find_token(&principals, "a");
    snprintf(text, sizeof text, "ann sha256:%s timeout=1s\neve sha256:%s\n", hash("new"), hash("e"));
    write_file(text, strlen(text));
    assert_int_equal(px_principals_reload(&principals, &error), 0);
    /* Requests and queues point to the principal, so it stays at its address. */
    assert_ptr_equal(px_principals_find_token(&principals, "new"), ann);
    assert_true(ann->rate == 0);
    px_auto_free char *ceiling = ceiling_of(&principals, ann);
    assert_string_equal(ceiling, "{\"timeout_ms\":1000}");
    assert_null(px_principals_find_token(&principals, "a"));
    assert_null(px_principals_find_token(&principals, "b"));
    assert_non_null(px_principals_find_token(&principals, "e"));
    write_file("ann\n", 4);
    assert_int_equal(px_principals_reload(&principals, &error), -1);
    assert_ptr_equal(px_principals_find_token(&principals, "new"), ann);
    assert_non_null(px_principals_find_token(&principals, "e"));
    snprintf(text, sizeof text, "bob sha256:%s\n", hash("b"));
    write_file(text, strlen(text));
    assert_int_equal(px_principals_reload(&principals, &error), 0);
    assert_non_null(px_principals_find_token(&principals, "b"));
    assert_null(px_principals_find_token(&principals, "new"));
    px_principals_done(&principals);
}

static void test_without_a_file_no_token_is_known(void **state)
{
    struct px_principals principals;
    pyexec_error error = {0};
    (void)state;
    assert_int_equal(px_principals_init(&principals, NULL, &error), 0);
    assert_int_equal(px_principals_reload(&principals, &error), 0);
    assert_null(px_principals_find_token(&principals, "a"));
    assert_string_equal(principals.local.name, "local");
    assert_string_equal(principals.loopback.name, "loopback");
    px_principals_done(&principals);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_finds_its_principal_alone),
        cmocka_unit_test(test_the_digits_of_a_hash_may_be_capitals),
        cmocka_unit_test(test_a_ceiling_has_what_the_line_sets),
        cmocka_unit_test(test_a_bad_line_is_refused_with_its_number),
        cmocka_unit_test(test_hashes_that_are_none),
        cmocka_unit_test(test_a_token_belongs_to_one),
        cmocka_unit_test(test_files_that_are_not_taken),
        cmocka_unit_test(test_a_new_file_replaces_the_old_one_or_nothing),
        cmocka_unit_test(test_without_a_file_no_token_is_known),
    };
    return cmocka_run_group_tests_name("principal", tests, make_file, remove_file);
}
