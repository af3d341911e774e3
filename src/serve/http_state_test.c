/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "serve/http_state.h"

#define REFUSED_EVENT -1

static void test_every_event_in_every_state(void **unused)
{
    enum { NO = REFUSED_EVENT };
    static const struct {
        enum px_http_state state;
        int dispatch, begin, answer, go, sent, broken; /* the state after it */
    } rows[] = {
        {PX_HTTP_READING, PX_HTTP_SERVED, NO, PX_HTTP_REFUSED, PX_HTTP_LOST, PX_HTTP_DELIVERED, PX_HTTP_LOST},
        {PX_HTTP_REFUSED, NO, NO, NO, PX_HTTP_REFUSED, PX_HTTP_DELIVERED, PX_HTTP_LOST},
        {PX_HTTP_SERVED, NO, PX_HTTP_STREAMING, PX_HTTP_ANSWERED, PX_HTTP_LOST, NO, PX_HTTP_LOST},
        {PX_HTTP_STREAMING, NO, NO, PX_HTTP_ANSWERED, PX_HTTP_LOST, NO, PX_HTTP_LOST},
        {PX_HTTP_ANSWERED, NO, NO, NO, PX_HTTP_ANSWERED, PX_HTTP_DELIVERED, PX_HTTP_LOST},
        {PX_HTTP_DELIVERED, NO, NO, NO, PX_HTTP_DELIVERED, NO, NO},
        {PX_HTTP_LOST, NO, PX_HTTP_LOST, PX_HTTP_LOST, PX_HTTP_LOST, PX_HTTP_LOST, PX_HTTP_LOST},
    };
    (void)unused;
    assert_int_equal(PX_COUNT(rows), PX_HTTP_LOST + 1);
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        const int after[] = {rows[i].dispatch, rows[i].begin, rows[i].answer, rows[i].go, rows[i].sent, rows[i].broken};
        for (int event = PX_HTTP_DISPATCH; event <= PX_HTTP_BREAK; event++) {
            enum px_http_state state = rows[i].state;
            assert_int_equal(px_http_state_change(&state, (enum px_http_event)event), after[event] != NO);
            assert_int_equal(state, after[event] == NO ? (int)rows[i].state : after[event]);
        }
    }
}

/* From the beginning, where every request is. */
static enum px_http_state after(const enum px_http_event *events, size_t count)
{
    enum px_http_state state = {0};
    for (size_t i = 0; i < count; i++)
        assert_true(px_http_state_change(&state, events[i]));
    return state;
}

static void test_the_lives_of_requests(void **unused)
{
    static const enum px_http_event whole[] = {PX_HTTP_DISPATCH, PX_HTTP_ANSWER, PX_HTTP_SENT},
                                    parts[] = {PX_HTTP_DISPATCH, PX_HTTP_BEGIN, PX_HTTP_ANSWER, PX_HTTP_GO,
                                               PX_HTTP_SENT},
                                    refused[] = {PX_HTTP_ANSWER, PX_HTTP_SENT},
                                    unread[] = {PX_HTTP_DISPATCH, PX_HTTP_ANSWER, PX_HTTP_BREAK},
                                    waiting[] = {PX_HTTP_DISPATCH, PX_HTTP_GO, PX_HTTP_ANSWER, PX_HTTP_SENT};
    (void)unused;
    assert_int_equal(after(whole, PX_COUNT(whole)), PX_HTTP_DELIVERED);
    assert_int_equal(after(parts, PX_COUNT(parts)), PX_HTTP_DELIVERED);
    assert_int_equal(after(refused, PX_COUNT(refused)), PX_HTTP_DELIVERED);
    assert_int_equal(after(unread, PX_COUNT(unread)), PX_HTTP_LOST);
    assert_int_equal(after(waiting, PX_COUNT(waiting)), PX_HTTP_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_in_every_state),
        cmocka_unit_test(test_the_lives_of_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
