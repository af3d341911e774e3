/* SPDX-License-Identifier: Apache-2.0 */
#include "nats_link/subject_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *subject, const char *wanted)
{
    char got[PX_SUBJECT_TEMPLATE_SIZE];
    px_subject_template(subject, got);
    assert_string_equal(got, wanted);
}

static void test_names_and_ids_are_replaced(void **state)
{
    (void)state;
    check("pyexec.v1.run", "pyexec.v1.run");
    check("pyexec.v1.as.YWxpY2U.run.data", "pyexec.v1.as.{principal}.run.data");
    check("pyexec.v1.node.n0", "pyexec.v1.node.{node}");
    check("pyexec.v1.node.n0.s.YQ.YmI", "pyexec.v1.node.{node}.s.{principal}.{session}");
    check("pyexec.v1.node.n0.p.YQ", "pyexec.v1.node.{node}.p.{principal}");
    check("pyexec.v1.node.n0.r.0f.ping", "pyexec.v1.node.{node}.r.{request}.ping");
    check("", "");
}

/* A name is not taken for the word of the next name. */
static void test_names_that_are_words_of_subjects(void **state)
{
    (void)state;
    check("pyexec.v1.node.s.s.as.node", "pyexec.v1.node.{node}.s.{principal}.{session}");
    check("pyexec.v1.as.node.run", "pyexec.v1.as.{principal}.run");
    check("pyexec.v1.node.as.r.s.cancel", "pyexec.v1.node.{node}.r.{request}.cancel");
}

static void test_a_long_subject_is_cut_off(void **state)
{
    (void)state;
    for (size_t length = PX_SUBJECT_TEMPLATE_SIZE - 8; length < 2 * PX_SUBJECT_TEMPLATE_SIZE; length++) {
        char subject[2 * PX_SUBJECT_TEMPLATE_SIZE + 8] = {0}, got[PX_SUBJECT_TEMPLATE_SIZE + 1] = {0};
        memset(subject, 'x', length);
        memcpy(subject + length, ".as.y", 6);
        got[PX_SUBJECT_TEMPLATE_SIZE] = '!';
        px_subject_template(subject, got);
        assert_int_equal(got[PX_SUBJECT_TEMPLATE_SIZE], '!');
        size_t kept = strlen(got);
        assert_int_equal(kept, PX_SUBJECT_TEMPLATE_SIZE - 1);
        assert_memory_equal(got, subject, length + 4 < kept ? length + 4 : length < kept ? length : kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_ids_are_replaced),
        cmocka_unit_test(test_names_that_are_words_of_subjects),
        cmocka_unit_test(test_a_long_subject_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
