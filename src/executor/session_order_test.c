/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "executor/session_order.h"

#define COUNT 10000

struct fixture {
    struct px_sessions sessions;
    struct px_session items[COUNT];
    char keys[COUNT][24];
    uint32_t random;
};

static uint32_t next_random(struct fixture *fixture)
{
    fixture->random = fixture->random * 1664525u + 1013904223u;
    return fixture->random >> 8;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    for (size_t i = 0; i < COUNT; i++) {
        struct px_session *session = &fixture->items[i];
        snprintf(fixture->keys[i], sizeof fixture->keys[i], "p%zu/s%zu", i % 10, i);
        session->key = fixture->keys[i];
        session->id = px_session_id(session->key);
        if (px_session_timers_reserve(&fixture->sessions.timers, i + 1) < 0 ||
            px_session_owner_join(&fixture->sessions, session) < 0)
            return -1;
    }
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT; i++)
        px_session_owner_leave(&fixture->sessions, &fixture->items[i]);
    for (size_t i = 0; i < PX_SESSION_BUCKETS; i++)
        assert_null(fixture->sessions.owners[i]);
    px_session_timers_done(&fixture->sessions.timers);
    free(fixture);
    return 0;
}

static void set_all(struct fixture *fixture)
{
    for (size_t i = 0; i < COUNT; i++)
        px_session_timer_set(&fixture->sessions.timers, &fixture->items[i], next_random(fixture) % 5000);
}

static void test_sessions_expire_in_the_order_of_their_timers(void **state)
{
    struct fixture *fixture = *state;
    set_all(fixture);
    for (size_t i = 0; i < COUNT; i += 3)
        px_session_timer_stop(&fixture->sessions.timers, &fixture->items[i]);
    for (size_t i = 1; i < COUNT; i += 3)
        px_session_timer_set(&fixture->sessions.timers, &fixture->items[i], next_random(fixture) % 5000);
    size_t taken = 0;
    int64_t last = 0;
    for (struct px_session *first; (first = px_session_timers_first(&fixture->sessions.timers)); taken++) {
        assert_true(first->expires_ns >= last);
        assert_int_not_equal((first - fixture->items) % 3, 0);
        last = first->expires_ns;
        px_session_timer_stop(&fixture->sessions.timers, first);
        px_session_timer_stop(&fixture->sessions.timers, first); /* a second time it does nothing */
    }
    assert_int_equal(taken, COUNT - (COUNT + 2) / 3);
}

static void test_a_session_that_never_expires_has_no_timer(void **state)
{
    struct fixture *fixture = *state;
    px_session_timer_set(&fixture->sessions.timers, &fixture->items[0], INT64_MAX);
    assert_null(px_session_timers_first(&fixture->sessions.timers));
    px_session_timer_set(&fixture->sessions.timers, &fixture->items[0], 5);
    assert_ptr_equal(px_session_timers_first(&fixture->sessions.timers), &fixture->items[0]);
    px_session_timer_set(&fixture->sessions.timers, &fixture->items[0], INT64_MAX);
    assert_null(px_session_timers_first(&fixture->sessions.timers));
}

/* A call stops a timer and starts it again with the latest time of all. log2(10,000) is 13.3. */
static void test_a_call_among_10000_sessions_moves_few_timers(void **state)
{
    struct fixture *fixture = *state;
    struct px_session_timers *timers = &fixture->sessions.timers;
    set_all(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t before = timers->moves;
        struct px_session *session = &fixture->items[next_random(fixture) % COUNT];
        px_session_timer_stop(timers, session);
        px_session_timer_set(timers, session, 5000 + (int64_t)i);
        assert_in_range(timers->moves - before, 1, 2 * 15);
    }
}

static void test_each_principal_is_counted_and_gives_up_its_own_oldest_idle_session(void **state)
{
    struct fixture *fixture = *state;
    const struct px_sessions *sessions = &fixture->sessions;
    struct px_session *items = fixture->items;
    char id[] = "p1", key[] = "p99/x"; /* the id is the end of the key */
    struct px_session stranger = {.key = id, .id = id}, newcomer = {.key = key, .id = px_session_id(key)};
    assert_int_equal(px_session_owner_count(sessions, &items[3]), COUNT / 10);
    assert_int_equal(px_session_owner_count(sessions, &stranger), 0);
    assert_int_equal(px_session_owner_count(sessions, &newcomer), 0);
    assert_null(px_session_owner_oldest_idle(sessions, &items[3]));
    for (size_t i = 0; i < COUNT; i++)
        px_session_owner_idle(&items[i]);
    assert_ptr_equal(px_session_owner_oldest_idle(sessions, &items[3]), &items[3]);
    px_session_owner_busy(&items[3]);
    px_session_owner_busy(&items[3]);
    items[13].references = 1; /* a call waits for it */
    assert_ptr_equal(px_session_owner_oldest_idle(sessions, &items[3]), &items[23]);
    assert_ptr_equal(px_session_owner_oldest_idle(sessions, &items[4]), &items[4]);
    px_session_owner_idle(&items[4]); /* used again: the newest */
    assert_ptr_equal(px_session_owner_oldest_idle(sessions, &items[4]), &items[14]);
    px_session_owner_leave(&fixture->sessions, &items[14]);
    assert_ptr_equal(px_session_owner_oldest_idle(sessions, &items[4]), &items[24]);
    assert_int_equal(px_session_owner_count(sessions, &items[4]), COUNT / 10 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sessions_expire_in_the_order_of_their_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_session_that_never_expires_has_no_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_call_among_10000_sessions_moves_few_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_principal_is_counted_and_gives_up_its_own_oldest_idle_session, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("session_order", tests, NULL, NULL);
}
