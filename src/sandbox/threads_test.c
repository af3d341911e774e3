/* SPDX-License-Identifier: Apache-2.0 */
/* The filters let the threads of each C library start. seccomp_test.c has those of the library with which it is built. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>

#include "sandbox/forked_test.h"
#include "sandbox/seccomp.h"

/* pthread_create() of musl 1.2 (src/thread/pthread_create.c). */
#define MUSL_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

static int install(const void *filter)
{
    enum px_filter kind = *(const enum px_filter *)filter;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return kind == PX_FILTER_CHILD_FORKABLE ? px_seccomp_enter_forkable() : px_seccomp_enter(kind);
}

static int set_seven(void *argument)
{
    *(int *)argument = 7;
    return 0;
}

/* The thread shares this one's TLS, and neither uses it while both live. */
static int thread_starts(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    static atomic_int alive = 1;
    int value = 0, id;
    CHECK(clone(set_seven, stack + sizeof stack, MUSL_FLAGS, &value, &id, __builtin_thread_pointer(), &alive) > 0);
    while (alive)
        sched_yield();
    CHECK(value == 7);
    return 0;
}

static void test_threads_of_musl_start(void **state)
{
    (void)state;
    for (enum px_filter filter = 0; filter < PX_FILTER_COUNT; filter++)
        assert_int_equal(forked_status(install, &filter, thread_starts), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_of_musl_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
