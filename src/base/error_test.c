/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: every code has its texts, and no text ever overflows or ends inside a character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/utf8.h"

static void test_codes(void **state)
{
    (void)state;
    static const struct {
        pyexec_code code;
        const char *name;
        int status;
    } rows[] = {
        {PYEXEC_OK, "ok", 200},
        {PYEXEC_INVALID_POLICY, "invalid_policy", 400},
        {PYEXEC_INVALID_REQUEST, "invalid_request", 400},
        {PYEXEC_PYTHON_NOT_FOUND, "python_not_found", 503},
        {PYEXEC_PYTHON_UNSUPPORTED, "python_unsupported", 503},
        {PYEXEC_SANDBOX_UNAVAILABLE, "sandbox_unavailable", 503},
        {PYEXEC_SESSION_LIMIT, "session_limit", 429},
        {PYEXEC_SESSION_NOT_FOUND, "session_not_found", 404},
        {PYEXEC_OVERLOADED, "overloaded", 503},
        {PYEXEC_SHUTTING_DOWN, "shutting_down", 503},
        {PYEXEC_INTERNAL, "internal", 500},
        {PYEXEC_SESSION_BUSY, "session_busy", 409},
        {PYEXEC_SESSION_NOT_FORKABLE, "session_not_forkable", 409},
        {(pyexec_code)99, "unknown", 500},
        {(pyexec_code)-1, "unknown", 500},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        assert_string_equal(pyexec_code_name(rows[i].code), rows[i].name);
        assert_int_equal(px_error_http_status(rows[i].code), rows[i].status);
    }
}

static void test_set(void **state)
{
    (void)state;
    pyexec_error error;
    memset(&error, 0xAA, sizeof error);
    assert_int_equal(px_error_set(&error, PYEXEC_SESSION_NOT_FOUND, "no session '%s'", "a"), -1);
    assert_int_equal(error.code, PYEXEC_SESSION_NOT_FOUND);
    assert_int_equal(error.sys_errno, 0);
    assert_string_equal(error.message, "no session 'a'");
    assert_string_equal(error.hint, "Execute with this id to create the session.");
    assert_int_equal(px_error_hint(&error, "try %d", 2), -1);
    assert_string_equal(error.hint, "try 2");
    assert_int_equal(px_error_wrap(&error, "call %d", 7), -1);
    assert_string_equal(error.message, "call 7: no session 'a'");
    assert_string_equal(error.hint, "try 2");
}

static void test_errno(void **state)
{
    (void)state;
    pyexec_error error;
    assert_int_equal(px_error_errno(&error, PYEXEC_INTERNAL, ENOENT, "can't open '%s'", "x"), -1);
    assert_int_equal(error.sys_errno, ENOENT);
    assert_string_equal(error.message, "can't open 'x': No such file or directory");
    px_error_errno(&error, PYEXEC_INTERNAL, 99999, "odd");
    assert_string_equal(error.message, "odd: unknown error");
    px_error_oom(&error);
    assert_int_equal(error.code, PYEXEC_INTERNAL);
    assert_int_equal(error.sys_errno, ENOMEM);
}

static void check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    assert_true(length < size);
    assert_true(length > size - 8);
    assert_true(px_utf8_valid(text, length, NULL));
}

static void test_long_texts(void **state)
{
    (void)state;
    pyexec_error error;
    char text[4096];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x92\xA9", 5);
        px_error_set(&error, PYEXEC_INTERNAL, "%s", text);
        check_text(error.message, sizeof error.message);
        px_error_errno(&error, PYEXEC_INTERNAL, EIO, "%s", text);
        check_text(error.message, sizeof error.message);
        px_error_wrap(&error, "more");
        check_text(error.message, sizeof error.message);
        px_error_wrap(&error, "%s", text);
        check_text(error.message, sizeof error.message);
        px_error_hint(&error, "%s", text);
        check_text(error.hint, sizeof error.hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
