/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "executor/session_state.h"

#define REFUSED -1

static void test_every_event_in_every_state(void **unused)
{
    static const int rows[][4] = {
        /* state, then after enter, leave, end */
        {PX_SESSION_IDLE, PX_SESSION_BUSY, REFUSED, PX_SESSION_ENDED},
        {PX_SESSION_BUSY, REFUSED, PX_SESSION_IDLE, PX_SESSION_ENDING},
        {PX_SESSION_ENDING, REFUSED, PX_SESSION_ENDED, PX_SESSION_ENDING},
        {PX_SESSION_ENDED, REFUSED, REFUSED, PX_SESSION_ENDED},
    };
    (void)unused;
    for (size_t i = 0; i < PX_COUNT(rows); i++)
        for (int event = PX_SESSION_ENTER; event <= PX_SESSION_END; event++) {
            enum px_session_state state = (enum px_session_state)rows[i][0];
            int wanted = rows[i][1 + event];
            assert_int_equal(px_session_state_change(&state, (enum px_session_event)event), wanted != REFUSED);
            assert_int_equal(state, wanted == REFUSED ? rows[i][0] : wanted);
        }
}

static void test_what_a_state_means(void **unused)
{
    static const struct {
        enum px_session_state state;
        bool has_call, is_over;
    } rows[] = {
        {PX_SESSION_IDLE, false, false},
        {PX_SESSION_BUSY, true, false},
        {PX_SESSION_ENDING, true, true},
        {PX_SESSION_ENDED, false, true},
    };
    (void)unused;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        assert_int_equal(px_session_state_has_call(rows[i].state), rows[i].has_call);
        assert_int_equal(px_session_state_is_over(rows[i].state), rows[i].is_over);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_in_every_state),
        cmocka_unit_test(test_what_a_state_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
