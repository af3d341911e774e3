/* SPDX-License-Identifier: Apache-2.0 */
/* The expected values are those of packaging.specifiers.SpecifierSet, the reference for PEP 440. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "env_build/env_python.h"

static void test_specifiers_hold_as_in_the_reference(void **state)
{
    static const struct {
        const char *version, *requires;
        bool holds;
    } rows[] = {
        {"3.11.2", "", true},
        {"3.11.2", ">=3.8", true},
        {"3.11.2", ">=3.11.2", true},
        {"3.11.2", ">=3.11.3", false},
        {"3.11.2", ">3.11.2", false},
        {"3.11.2", ">3.11.1", true},
        {"3.11.2", "<3.12", true},
        {"3.11.2", "<3.11.2", false},
        {"3.11.2", "<=3.11.2", true},
        {"3.11.2", "<=3.11", false},
        {"3.11.0", "<=3.11", true},
        {"3.11.2", "==3.11", false},
        {"3.11.0", "==3.11", true},
        {"3.11.2", "==3.11.*", true},
        {"3.1.2", "==3.11.*", false},
        {"3.11.2", "==3.*", true},
        {"3.11.2", "!=3.11.*", false},
        {"3.11.2", "!=3.10.*", true},
        {"3.11.2", "!=3.11.2", false},
        {"3.11.2", "!=3.11", true},
        {"3.11.2", "~=3.8", true},
        {"4.0.0", "~=3.8", false},
        {"3.11.2", "~=3.11.0", true},
        {"3.12.0", "~=3.11.0", false},
        {"3.11.2", "~=3.11.3", false},
        {"3.9.18", ">=3.9,<3.13", true},
        {"3.13.0", ">=3.9,<3.13", false},
        {"3.11.2", " >= 3.9 , != 3.10.* , < 4 ", true},
        {"3.10.1", ">=3.9,!=3.10.*,<4", false},
        {"3.11.2", "===3.11.2", true},
        {"3.11.2", "===3.11.1", false},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        bool valid = false, holds = env_python_satisfies(rows[i].version, rows[i].requires, &valid);
        if (!valid || holds != rows[i].holds)
            fail_msg("%s with %s: %s", rows[i].version, rows[i].requires, valid ? "wrong" : "not valid");
    }
}

static void test_what_is_no_specifier_is_said(void **state)
{
    static const char *const bad[] = {"3.11",     "=3.11",  "=>3.11",   ">=",    ">=x",        ",>=3.11", ">=3.11 <4",
                                      "~=3",      ">=3.*",  "~=3.1.*",  "<3.*",  "==*",        ">=3..1",  ">=3.1rc1",
                                      ">= 3 . 1", "latest", ">=3.11;x", "^3.11", "==1.2.3.4.5"};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        bool valid = true;
        env_python_satisfies("3.11.2", bad[i], &valid);
        if (valid)
            fail_msg("'%s' was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specifiers_hold_as_in_the_reference),
        cmocka_unit_test(test_what_is_no_specifier_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
