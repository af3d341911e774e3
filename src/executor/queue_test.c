/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only the rules of the queue: who is next, and who is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "executor/queue.h"

struct item {
    struct px_queue_entry entry; /* first */
    char name;
};

static void add(struct px_queue *queue, struct item *item, char name, const char *principal, const char *session)
{
    *item =
        (struct item){.entry = {.principal = px_queue_principal(queue, principal), .session = session}, .name = name};
    assert_non_null(item->entry.principal);
    assert_int_equal(item->entry.state, PX_QUEUE_OUT);
    px_queue_add(queue, &item->entry);
    assert_int_equal(item->entry.state, PX_QUEUE_WAITING);
}

/* Begins the next entry and returns its letter, or '-' when none may begin. */
static char begin(struct px_queue *queue, struct item **ret)
{
    struct item *item = (struct item *)px_queue_next(queue);
    *ret = item;
    if (!item)
        return '-';
    px_queue_begin(queue, &item->entry);
    assert_int_equal(item->entry.state, PX_QUEUE_RUNNING);
    return item->name;
}

/* Returns the names in the order in which they begin. Each one begins after the end of the one before. */
static void assert_order(struct px_queue *queue, const char *expected)
{
    char names[32] = "";
    struct item *item;
    for (size_t i = 0; i + 1 < sizeof names && begin(queue, &item) != '-'; i++) {
        names[i] = item->name;
        px_queue_leave(queue, &item->entry);
        assert_int_equal(item->entry.state, PX_QUEUE_OUT);
    }
    assert_string_equal(names, expected);
    assert_int_equal(queue->waiting, 0);
}

static enum px_queue_answer admit(struct px_queue *queue, const char *principal, size_t free_turns)
{
    int wait_ms;
    return px_queue_admit(queue, px_queue_principal(queue, principal), free_turns, &wait_ms);
}

static void test_principals_and_threads_of_nobody_take_turns(void **state)
{
    struct px_queue queue;
    struct item items[8];
    (void)state;
    px_queue_init(&queue, 100, 0);
    for (size_t i = 0; i < PX_COUNT(items); i++)
        add(&queue, &items[i], "aaaabbnn"[i], i < 4 ? "ann" : i < 6 ? "bob" : NULL, NULL);
    assert_order(&queue, "abnabnaa");
    px_queue_done(&queue);
}

static void test_calls_of_a_session_begin_in_their_order_and_one_at_a_time(void **state)
{
    struct px_queue queue;
    struct item items[5], *first, *other, *none;
    (void)state;
    px_queue_init(&queue, 100, 0);
    add(&queue, &items[0], '1', "ann", "s");
    add(&queue, &items[1], '2', "ann", "s");
    add(&queue, &items[2], 't', "ann", "t");
    add(&queue, &items[3], 'n', "ann", NULL);
    add(&queue, &items[4], 'b', "bob", "s"); /* another principal's session of the same name */
    assert_int_equal(begin(&queue, &first), '1');
    assert_int_equal(begin(&queue, &other), 'b');
    assert_int_equal(begin(&queue, &other), 't');
    assert_int_equal(begin(&queue, &other), 'n');
    assert_int_equal(begin(&queue, &none), '-');
    px_queue_leave(&queue, &first->entry);
    assert_int_equal(begin(&queue, &none), '2');
    px_queue_done(&queue);
}

static void test_a_principal_runs_as_many_as_its_limit(void **state)
{
    struct px_queue queue;
    struct item items[6], *running[3], *none;
    (void)state;
    px_queue_init(&queue, 100, 1);
    for (size_t i = 0; i < PX_COUNT(items); i++)
        add(&queue, &items[i], "aabbnn"[i], i < 2 ? "ann" : i < 4 ? "bob" : NULL, NULL);
    px_queue_limit(px_queue_principal(&queue, "bob"), 2, 0);
    assert_int_equal(begin(&queue, &running[0]), 'a');
    assert_int_equal(begin(&queue, &none), 'b');
    assert_int_equal(begin(&queue, &none), 'n'); /* no principal: no limit */
    assert_int_equal(begin(&queue, &none), 'b');
    assert_int_equal(begin(&queue, &none), 'n');
    assert_int_equal(begin(&queue, &none), '-');
    px_queue_leave(&queue, &running[0]->entry);
    assert_int_equal(begin(&queue, &none), 'a');
    px_queue_done(&queue);
}

static void test_one_principal_fills_half_of_the_queue(void **state)
{
    struct px_queue queue;
    struct item items[5];
    (void)state;
    px_queue_init(&queue, 4, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(admit(&queue, "ann", 0), PX_QUEUE_ADMITTED);
        add(&queue, &items[i], 'a', "ann", NULL);
    }
    assert_int_equal(admit(&queue, "ann", 0), PX_QUEUE_FULL);
    assert_int_equal(admit(&queue, "ann", 9), PX_QUEUE_FULL); /* its own waiting entries fill its half of the queue */
    assert_int_equal(admit(&queue, NULL, 0), PX_QUEUE_ADMITTED);
    for (size_t i = 2; i < 4; i++)
        add(&queue, &items[i], 'b', "bob", NULL);
    assert_int_equal(admit(&queue, "eve", 0), PX_QUEUE_FULL);
    assert_int_equal(admit(&queue, "eve", 4), PX_QUEUE_FULL);
    assert_int_equal(admit(&queue, "eve", 5), PX_QUEUE_ADMITTED); /* it needs no place */
    assert_int_equal(admit(&queue, NULL, 0), PX_QUEUE_FULL);
    px_queue_leave(&queue, &items[3].entry); /* this entry no longer waits */
    assert_int_equal(admit(&queue, "eve", 0), PX_QUEUE_ADMITTED);
    add(&queue, &items[4], 'e', "eve", NULL);
    assert_order(&queue, "abea");
    px_queue_done(&queue);
}

static void test_one_over_its_rate_is_told_how_long_to_wait(void **state)
{
    struct px_queue queue;
    int wait_ms = 0;
    (void)state;
    px_queue_init(&queue, 100, 0);
    struct px_queue_principal *ann = px_queue_principal(&queue, "ann");
    px_queue_limit(ann, 0, 0.001); /* one in a thousand seconds */
    assert_int_equal(px_queue_admit(&queue, ann, 1, &wait_ms), PX_QUEUE_ADMITTED);
    assert_int_equal(px_queue_admit(&queue, ann, 1, &wait_ms), PX_QUEUE_OVER_RATE);
    assert_in_range(wait_ms, 1, 1000001);
    assert_int_equal(admit(&queue, "bob", 1), PX_QUEUE_ADMITTED);
    px_queue_limit(ann, 0, 0);
    assert_int_equal(px_queue_admit(&queue, ann, 1, &wait_ms), PX_QUEUE_ADMITTED);
    px_queue_done(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_principals_and_threads_of_nobody_take_turns),
        cmocka_unit_test(test_calls_of_a_session_begin_in_their_order_and_one_at_a_time),
        cmocka_unit_test(test_a_principal_runs_as_many_as_its_limit),
        cmocka_unit_test(test_one_principal_fills_half_of_the_queue),
        cmocka_unit_test(test_one_over_its_rate_is_told_how_long_to_wait),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
