/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "executor/session_private.h"

#define COUNT (3 * PX_SESSION_BUCKETS) /* more than the buckets, so that some share a bucket */

struct table {
    struct px_sessions sessions;
    struct px_session items[COUNT];
    char keys[COUNT][24];
};

static int set_up(void **state)
{
    struct table *table = calloc(1, sizeof *table);
    *state = table;
    table->sessions.ended = json_object();
    table->sessions.history = calloc(PX_HISTORY_MAX, sizeof *table->sessions.history);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(table->keys[i], sizeof table->keys[i], "ann/%zu", i);
        table->items[i].key = table->keys[i];
        if (px_session_list(&table->sessions, &table->items[i]) < 0)
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    struct table *table = *state;
    json_decref(table->sessions.ended);
    for (size_t i = 0; i < PX_HISTORY_MAX; i++)
        free(table->sessions.history[i]);
    free(table->sessions.history);
    free(table);
    return 0;
}

static void test_each_key_finds_its_own_session(void **state)
{
    const struct table *table = *state;
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(px_session_look_up(&table->sessions, table->keys[i]), &table->items[i]);
    assert_null(px_session_look_up(&table->sessions, "ann"));
    assert_null(px_session_look_up(&table->sessions, "bob/1"));
    assert_null(px_session_look_up(&table->sessions, ""));
}

static void test_what_is_taken_out_is_gone_and_the_rest_stays(void **state)
{
    struct table *table = *state;
    for (size_t i = 0; i < COUNT; i += 3)
        px_session_unlist(&table->sessions, &table->items[i]);
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(px_session_look_up(&table->sessions, table->keys[i]), i % 3 ? &table->items[i] : NULL);
    for (size_t i = 0; i < COUNT; i += 3)
        assert_int_equal(px_session_list(&table->sessions, &table->items[i]), 0);
    assert_ptr_equal(px_session_look_up(&table->sessions, table->keys[0]), &table->items[0]);
}

static void test_each_number_finds_its_own_session(void **state)
{
    struct table *table = *state;
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(px_session_by_number(&table->sessions, table->items[i].number), &table->items[i]);
    uint64_t number = table->items[5].number;
    px_session_unlist(&table->sessions, &table->items[5]);
    assert_null(px_session_by_number(&table->sessions, number));
    assert_int_equal(px_session_list(&table->sessions, &table->items[5]), 0);
    assert_null(px_session_by_number(&table->sessions, number)); /* a late signal is not for its successor */
    assert_ptr_equal(px_session_by_number(&table->sessions, table->items[5].number), &table->items[5]);
}

static void end(struct table *table, struct px_session *session, enum px_session_end why)
{
    session->history_key = strdup(session->key);
    px_session_remember(&table->sessions, session, why);
    px_session_unlist(&table->sessions, session);
}

static void test_the_next_of_a_key_knows_why_the_last_one_ended(void **state)
{
    struct table *table = *state;
    struct px_session next = {.key = table->keys[7]};
    assert_int_equal(table->items[7].restarted, PX_END_NONE);
    end(table, &table->items[7], PX_END_IDLE_TTL);
    assert_int_equal(px_session_list(&table->sessions, &next), 0);
    assert_int_equal(next.restarted, PX_END_IDLE_TTL);
    assert_int_equal(table->sessions.ends[PX_END_IDLE_TTL], 1);
    px_session_unlist(&table->sessions, &next);
    assert_int_equal(px_session_list(&table->sessions, &table->items[7]), 0);
}

static void test_only_the_latest_ends_are_remembered(void **state)
{
    struct table *table = *state;
    struct px_session first = {.key = "bob/first"}, live = {.key = "bob/live"}, again = {.key = "bob/first"};
    assert_int_equal(px_session_list(&table->sessions, &first), 0);
    end(table, &first, PX_END_CRASHED);
    assert_int_equal(px_session_list(&table->sessions, &live), 0);
    char key[24];
    for (size_t i = 0; i < PX_HISTORY_MAX; i++) {
        struct px_session one = {.key = key};
        snprintf(key, sizeof key, "eve/%zu", i);
        assert_int_equal(px_session_list(&table->sessions, &one), 0);
        end(table, &one, PX_END_CLOSED);
    }
    assert_int_equal(px_session_list(&table->sessions, &again), 0);
    assert_int_equal(again.restarted, PX_END_NONE);
    assert_ptr_equal(px_session_look_up(&table->sessions, "bob/live"), &live);
    px_session_unlist(&table->sessions, &live);
    px_session_unlist(&table->sessions, &again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_finds_its_own_session),
        cmocka_unit_test(test_what_is_taken_out_is_gone_and_the_rest_stays),
        cmocka_unit_test(test_each_number_finds_its_own_session),
        cmocka_unit_test(test_the_next_of_a_key_knows_why_the_last_one_ended),
        cmocka_unit_test(test_only_the_latest_ends_are_remembered),
    };
    return cmocka_run_group_tests_name("session_table", tests, set_up, tear_down);
}
