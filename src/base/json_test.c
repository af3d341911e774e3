/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"

enum { THREADS = 4, ROUNDS = 1000 };

static void *hold_and_release(void *value)
{
    for (int i = 0; i < ROUNDS; i++)
        json_decref(json_incref(value));
    json_decref(value);
    return NULL;
}

/* The last thread frees the value. ThreadSanitizer and valgrind see whether it does so correctly. */
static void threads_may_hold_one_value(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    json_t *value = json_pack("{s:i, s:n}", "one", 1, "none");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, json_incref(value)), 0);
    assert_int_equal(json_integer_value(json_object_get(value, "one")), 1);
    json_decref(value);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void constants_are_not_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        json_decref(json_null());
        json_decref(json_true());
        assert_ptr_equal(json_incref(json_false()), json_false());
    }
    assert_true(json_null()->refcount == (size_t)-1 && json_is_null(json_null()));
    assert_true(json_false()->refcount == (size_t)-1 && json_true()->refcount == (size_t)-1);
    assert_null(json_incref(NULL));
    json_decref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_may_hold_one_value),
                                       cmocka_unit_test(constants_are_not_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
