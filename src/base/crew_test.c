/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fds.h"

#define STACK (256u << 10)

/* A source whose threads each take the event, and then wait at a gate. */
static struct {
    struct px_crew *crew;
    struct px_crew_source source;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int served, inside, at_once;
    bool open, gives_back_first;
} place = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void serve(struct px_crew_source *source)
{
    px_wake_take(source->fd);
    if (place.gives_back_first) {
        px_crew_reserve(place.crew);
        px_crew_give_back(place.crew, source);
    }
    pthread_mutex_lock(&place.lock);
    place.served++;
    place.inside++;
    if (place.at_once < place.inside)
        place.at_once = place.inside;
    pthread_cond_broadcast(&place.changed);
    while (!place.open)
        pthread_cond_wait(&place.changed, &place.lock);
    place.inside--;
    pthread_cond_broadcast(&place.changed);
    pthread_mutex_unlock(&place.lock);
    if (!place.gives_back_first)
        px_crew_give_back(place.crew, source);
}

static void await(const int *number, int wanted)
{
    pthread_mutex_lock(&place.lock);
    while (*number != wanted)
        pthread_cond_wait(&place.changed, &place.lock);
    pthread_mutex_unlock(&place.lock);
}

static void set_open(bool open)
{
    pthread_mutex_lock(&place.lock);
    place.open = open;
    pthread_cond_broadcast(&place.changed);
    pthread_mutex_unlock(&place.lock);
}

static void begin(bool gives_back_first)
{
    pyexec_error error;
    place.served = place.inside = place.at_once = 0;
    place.open = false;
    place.gives_back_first = gives_back_first;
    place.source = (struct px_crew_source){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), serve};
    assert_int_equal(px_crew_new(STACK, &place.crew, &error), 0);
    assert_int_equal(px_crew_add(place.crew, &place.source, true, &error), 0);
}

static void end(void)
{
    px_crew_free(place.crew);
    close(place.source.fd);
}

static void test_other_threads_serve_while_one_is_busy(void **state)
{
    (void)state;
    begin(true);
    for (int i = 1; i <= 3; i++) {
        px_wake(place.source.fd);
        await(&place.inside, i);
    }
    set_open(true);
    await(&place.inside, 0);
    assert_int_equal(place.at_once, 3);
    end();
}

static void test_an_event_waits_until_its_source_is_given_back(void **state)
{
    (void)state;
    begin(false);
    px_crew_reserve(place.crew);
    px_wake(place.source.fd);
    await(&place.inside, 1);
    px_crew_reserve(place.crew); /* now another thread waits, but not for this source */
    px_wake(place.source.fd);
    set_open(true);
    await(&place.served, 2);
    end(); /* waits until both are done */
    assert_int_equal(place.at_once, 1);
}

static void test_a_file_that_is_always_readable_is_refused(void **state)
{
    pyexec_error error;
    (void)state;
    begin(true);
    struct px_crew_source file = {open("/proc/self/exe", 0), serve};
    assert_int_equal(px_crew_add(place.crew, &file, true, &error), -1);
    assert_int_equal(error.sys_errno, EPERM);
    close(file.fd);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_threads_serve_while_one_is_busy),
        cmocka_unit_test(test_an_event_waits_until_its_source_is_given_back),
        cmocka_unit_test(test_a_file_that_is_always_readable_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
