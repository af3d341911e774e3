/* SPDX-License-Identifier: Apache-2.0 */
/* Each row of protocol/child_fields.def, at its bounds and beyond them, as a hostile child would send it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "result/result.h"

static int put(pyexec_result *result, uint16_t kind, const void *bytes, size_t length, const char **ret_why)
{
    px_auto_buffer struct px_buffer packet = {0};
    px_wire_add(&packet, kind, bytes, length);
    assert_true(px_buffer_ok(&packet));
    return px_child_result_parse(&result->claims, packet.data, packet.length, ret_why);
}

static pyexec_result *locked_result(void)
{
    static const uint64_t times[2];
    const char *why;
    pyexec_result *result = px_result_new();
    assert_non_null(result);
    assert_int_equal(put(result, PX_RESULT_LOCKED, times, sizeof times, &why), 0);
    return result;
}

/* Sends `times` such fields, each of `length` bytes, to a new result. Returns what is wrong with them, or NULL. Only
 * the last field may be refused. */
static const char *refusal(uint16_t kind, const void *bytes, size_t length, size_t times)
{
    const char *why = NULL;
    pyexec_result *result = locked_result();
    for (size_t i = 1; i < times; i++)
        assert_int_equal(put(result, kind, bytes, length, &why), 0);
    int status = put(result, kind, bytes, length, &why);
    assert_int_equal(status, why ? -1 : 0);
    pyexec_result_free(result);
    return why;
}

#define TOO_LARGE "a field that is too large or comes too often"
#define NO_NUMBER "a number of another size or range"

struct number_row {
    uint16_t kind;
    size_t size;
    int64_t minimum;
    uint64_t maximum;
};

static const struct number_row numbers[] = {
#define PX_CHILD_NUMBER(NAME, wire, type, member, minimum, maximum, when) \
    {PX_RESULT_##NAME, sizeof(wire), minimum, (uint64_t)(maximum)},
#include "protocol/child_fields.def"
};

static const char *number_refusal(const struct number_row *row, uint64_t value, size_t size, size_t times)
{
    const uint64_t bytes[] = {value, 0}; /* a field of 9 bytes is tried too */
    return refusal(row->kind, bytes, size, times);
}

static void test_numbers_have_their_size_and_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        const struct number_row *row = &numbers[i];
        uint64_t greatest = row->size == 8 ? UINT64_MAX : (1ull << row->size * 8) - 1;
        assert_null(number_refusal(row, (uint64_t)row->minimum, row->size, 1));
        assert_null(number_refusal(row, row->maximum, row->size, 1));
        assert_string_equal(number_refusal(row, row->maximum, row->size, 2), TOO_LARGE);
        assert_string_equal(number_refusal(row, row->maximum, row->size + 1, 1), TOO_LARGE);
        assert_string_equal(number_refusal(row, row->maximum, row->size - 1, 1), NO_NUMBER);
        assert_string_equal(number_refusal(row, row->maximum, 0, 1), NO_NUMBER);
        if (row->minimum >= 0 && row->maximum < greatest) {
            assert_string_equal(number_refusal(row, row->maximum + 1, row->size, 1), NO_NUMBER);
            assert_string_equal(number_refusal(row, greatest, row->size, 1), NO_NUMBER);
        }
    }
}

/* Repeats the numbers of the rows, so that a range that is widened by mistake fails here. */
static void test_the_ranges_are_these(void **state)
{
    (void)state;
    const uint8_t outcome = PX_OUTCOME_KINDS, truncated = 2;
    const int32_t below = -1, above = 256;
    const uint64_t many = (uint64_t)INT64_MAX / 2 + 1;
    assert_string_equal(refusal(PX_RESULT_OUTCOME, &outcome, 1, 1), NO_NUMBER);
    assert_string_equal(refusal(PX_RESULT_VALUE_TRUNCATED, &truncated, 1, 1), NO_NUMBER);
    assert_string_equal(refusal(PX_RESULT_EXIT_CODE, &below, 4, 1), NO_NUMBER);
    assert_string_equal(refusal(PX_RESULT_EXIT_CODE, &above, 4, 1), NO_NUMBER);
    assert_null(refusal(PX_RESULT_ERROR_LINE, &below, 4, 1));
    assert_string_equal(refusal(PX_RESULT_DENIALS_DROPPED, &many, 8, 1), NO_NUMBER);
    assert_string_equal(refusal(PX_RESULT_DISPLAYS_DROPPED, &many, 8, 1), NO_NUMBER);
}

static void test_texts_have_their_size_and_count(void **state)
{
    static const struct {
        uint16_t kind;
        size_t size, count;
    } texts[] = {
#define PX_CHILD_TEXT(NAME, member, size, count, check, when) {PX_RESULT_##NAME, size, count},
#include "protocol/child_fields.def"
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        px_auto_free char *bytes = calloc(1, texts[i].size + 1);
        assert_non_null(bytes);
        memset(bytes, 'a', texts[i].size + 1);
        assert_null(refusal(texts[i].kind, bytes, texts[i].size, 1));
        assert_string_equal(refusal(texts[i].kind, bytes, texts[i].size + 1, 1), TOO_LARGE);
        assert_null(refusal(texts[i].kind, bytes, 0, texts[i].count));
        assert_string_equal(refusal(texts[i].kind, bytes, 0, texts[i].count + 1), TOO_LARGE);
        if (texts[i].count > 1) /* together */
            assert_string_equal(refusal(texts[i].kind, bytes, texts[i].size / 2 + 1, 2), TOO_LARGE);
    }
}

static const char *check(uint16_t kind, const char *text)
{
    const uint8_t outcome = PX_OUTCOME_ERROR;
    const char *why;
    pyexec_result *result = locked_result();
    assert_int_equal(put(result, PX_RESULT_OUTCOME, &outcome, 1, &why), 0);
    assert_int_equal(put(result, kind, text, strlen(text), &why), 0);
    assert_int_equal(put(result, PX_RESULT_DONE, NULL, 0, &why), 0);
    why = px_child_result_check(&result->claims);
    pyexec_result_free(result);
    return why;
}

static void test_texts_are_utf8(void **state)
{
    enum { UTF8, LATER };
    static const struct {
        uint16_t kind;
        int check;
    } texts[] = {
#define PX_CHILD_TEXT(NAME, member, size, count, check, when) {PX_RESULT_##NAME, check},
#include "protocol/child_fields.def"
    };
    size_t later = 0;
    (void)state;
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        assert_null(check(texts[i].kind, "\xc3\xa9"));
        const char *why = check(texts[i].kind, "\xff");
        later += !why;
        if (texts[i].check == UTF8)
            assert_string_equal(why, "text that is not UTF-8");
    }
    /* Only the JSON of the value is checked later, by px_json_claim_ok(). */
    assert_int_equal(later, 1);
}

static void test_marks_are_empty_and_come_once(void **state)
{
    static const uint16_t marks[] = {
#define PX_CHILD_MARK(NAME, member) PX_RESULT_##NAME,
#include "protocol/child_fields.def"
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(marks); i++) {
        assert_null(refusal(marks[i], NULL, 0, 1));
        assert_string_equal(refusal(marks[i], "x", 1, 1), TOO_LARGE);
        assert_string_equal(refusal(marks[i], NULL, 0, 2),
                            marks[i] == PX_RESULT_DONE ? "data after the end of the result" : TOO_LARGE);
    }
}

static void test_other_forms_have_their_size(void **state)
{
    static const struct {
        uint16_t kind;
        size_t size;
    } others[] = {
#define PX_CHILD_OTHER(NAME, size, ...) {PX_RESULT_##NAME, size},
#include "protocol/child_fields.def"
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(others); i++) {
        if (others[i].size > PX_DISPLAY_BYTES_MAX)
            continue; /* its kept part has another limit: tool_claims.h */
        px_auto_free char *bytes = calloc(1, others[i].size + 1);
        assert_non_null(bytes);
        assert_string_equal(refusal(others[i].kind, bytes, others[i].size + 1, 1), TOO_LARGE);
    }
}

static void test_fields_of_a_form_of_their_own(void **state)
{
    static const char denial[] = {1, 0, 0, 0, 0, 100, 0, 'x'};
    static const uint8_t no_crash[2] = {9, 0}, crash[2] = {11, 0};
    static const pyexec_error error;
    (void)state;
    assert_string_equal(refusal(PX_RESULT_DENIAL, denial, 3, 1), "a denial is too short");
    assert_string_equal(refusal(PX_RESULT_DENIAL, denial, sizeof denial, 1), "a denial is malformed");
    assert_string_equal(refusal(PX_RESULT_CRASH, no_crash, 2, 1), "a signal that is not a crash");
    assert_string_equal(refusal(PX_RESULT_CRASH, crash, 1, 1), "a signal that is not a crash");
    assert_null(refusal(PX_RESULT_CRASH, crash, 2, 1));
    assert_string_equal(refusal(PX_RESULT_SETUP_ERROR, &error, sizeof error, 1), "a set-up error out of place");
    assert_string_equal(refusal(PX_RESULT_LOCKED, &error, 16, 1), TOO_LARGE);
}

static void test_unknown_kinds_and_the_order(void **state)
{
    const char *why = NULL;
    (void)state;
    assert_string_equal(refusal(PX_RESULT_NONE, NULL, 0, 1), "a field of unknown kind");
    assert_string_equal(refusal(PX_RESULT_KINDS, NULL, 0, 1), "a field of unknown kind");
    assert_string_equal(refusal(UINT16_MAX, NULL, 0, 1), "a field of unknown kind");
    for (int kind = 1; kind < PX_RESULT_KINDS; kind++) {
        if (kind == PX_RESULT_LOCKED || kind == PX_RESULT_SETUP_ERROR)
            continue;
        pyexec_result *result = px_result_new();
        assert_int_equal(put(result, (uint16_t)kind, NULL, 0, &why), -1);
        assert_string_equal(why, "a field before the sandbox was locked");
        pyexec_result_free(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_have_their_size_and_range), cmocka_unit_test(test_the_ranges_are_these),
        cmocka_unit_test(test_texts_have_their_size_and_count),   cmocka_unit_test(test_texts_are_utf8),
        cmocka_unit_test(test_marks_are_empty_and_come_once),     cmocka_unit_test(test_other_forms_have_their_size),
        cmocka_unit_test(test_fields_of_a_form_of_their_own),     cmocka_unit_test(test_unknown_kinds_and_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
