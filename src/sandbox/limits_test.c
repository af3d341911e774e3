/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and the drop of privileges, in forked children that return 0 or the failed line. */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "sandbox/forked_test.h"
#include "sandbox/limits.h"

#define TEST_ID 54321 /* no other process uses it, so that counts of threads are exact */

static const struct px_limits none = {
#define PX_RLIMIT(resource, member, value) .member = UINT64_MAX,
#include "base/rlimits.def"
};

static void run(int (*test)(void))
{
    assert_int_equal(forked_status(NULL, NULL, test), 0);
}

static bool become_unprivileged(void)
{
    return geteuid() != 0 || setresuid(TEST_ID, TEST_ID, TEST_ID) == 0;
}

static bool is_limited(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur == soft && limit.rlim_max == hard;
}

/* ---- Limits ---- */

static int numbers(void)
{
    struct rlimit before, after;
    getrlimit(RLIMIT_STACK, &before);
    struct px_limits limits = {.address_space_bytes = 1ull << 30,
                               .cpu_seconds = 7,
                               .open_files = 20,
                               .open_files_reserve = 30,
                               .threads = 5,
                               .file_bytes = 1 << 20};
    CHECK(px_limits_enter(&limits) == 0);
    CHECK(is_limited(RLIMIT_AS, 1ull << 30, 1ull << 30) && is_limited(RLIMIT_CPU, 7, 7));
    CHECK(is_limited(RLIMIT_NOFILE, 20, 50) && is_limited(RLIMIT_NPROC, 5, 5));
    CHECK(is_limited(RLIMIT_FSIZE, 1 << 20, 1 << 20));
    CHECK(is_limited(RLIMIT_CORE, 0, 0) && is_limited(RLIMIT_MEMLOCK, 0, 0));
    CHECK(is_limited(RLIMIT_MSGQUEUE, 0, 0) && is_limited(RLIMIT_SIGPENDING, 256, 256));
    CHECK(is_limited(RLIMIT_NICE, 0, 0) && is_limited(RLIMIT_RTPRIO, 0, 0));
    getrlimit(RLIMIT_STACK, &after);
    CHECK(after.rlim_cur == before.rlim_cur && after.rlim_max == before.rlim_max);
    return 0;
}

/* Each row of base/rlimits.def limits its own resource: the values differ. */
static int rows_of_the_table(void)
{
    uint64_t next = 50;
    struct px_limits limits = {0};
#define PX_RLIMIT(resource, member, value) limits.member = next++;
#include "base/rlimits.def"
    CHECK(px_limits_enter(&limits) == 0);
#define PX_RLIMIT(resource, member, value) CHECK(is_limited(resource, limits.member, limits.member));
#include "base/rlimits.def"
#define PX_RLIMIT_FIXED(resource, value) CHECK(is_limited(resource, value, value));
#include "base/rlimits.def"
    return 0;
}

static int left_alone(void)
{
    struct rlimit before[2], after[2];
    getrlimit(RLIMIT_AS, &before[0]);
    getrlimit(RLIMIT_NOFILE, &before[1]);
    CHECK(px_limits_enter(&none) == 0);
    getrlimit(RLIMIT_AS, &after[0]);
    getrlimit(RLIMIT_NOFILE, &after[1]);
    CHECK(memcmp(before, after, sizeof before) == 0);
    return 0;
}

/* The host's own hard limit is lower than what is asked for, and can't be raised. */
static int below_hard_limit(void)
{
    struct rlimit low = {40, 40}, high;
    struct px_limits limits = none;
    CHECK(become_unprivileged() && setrlimit(RLIMIT_NOFILE, &low) == 0);
    limits.open_files = 30;
    limits.open_files_reserve = 100;
    CHECK(px_limits_enter(&limits) == 0 && is_limited(RLIMIT_NOFILE, 30, 40));
    limits.open_files = 60;
    CHECK(px_limits_enter(&limits) == 0 && is_limited(RLIMIT_NOFILE, 40, 40));
    limits.open_files_reserve = UINT64_MAX;
    CHECK(px_limits_enter(&limits) == 0 && is_limited(RLIMIT_NOFILE, 40, 40));
    high = (struct rlimit){41, 41};
    CHECK(setrlimit(RLIMIT_NOFILE, &high) == -1 && errno == EPERM);
    return 0;
}

static int memory_ends(void)
{
    struct px_limits limits = none;
    limits.address_space_bytes = 512u << 20;
    CHECK(px_limits_enter(&limits) == 0);
    CHECK(mmap(NULL, 1u << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK(errno == ENOMEM);
    return 0;
}

static int files_end(void)
{
    struct px_limits limits = none;
    limits.open_files = 10;
    limits.file_bytes = 1000;
    CHECK(px_limits_enter(&limits) == 0);
    CHECK(dup2(1, 10) == -1 && errno == EBADF);
    CHECK(dup2(1, 9) == 9);
    signal(SIGXFSZ, SIG_IGN);
    FILE *file = tmpfile();
    CHECK(file && ftruncate(fileno(file), 1000) == 0);
    CHECK(ftruncate(fileno(file), 1001) == -1 && errno == EFBIG);
    return 0;
}

static void *wait_for_end(void *argument)
{
    (void)argument;
    for (;;)
        pause();
    return NULL;
}

static int threads_end(void)
{
    struct px_limits limits = none;
    limits.threads = 4;
    /* The kernel counts these for each user and user namespace, and an ordinary user has other processes too. */
    CHECK(geteuid() == 0 ? become_unprivileged() : unshare(CLONE_NEWUSER) == 0);
    CHECK(px_limits_enter(&limits) == 0);
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread, NULL, wait_for_end, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_end, NULL) == EAGAIN);
    CHECK(fork() == -1 && errno == EAGAIN);
    return 0;
}

static int cpu_ends(void)
{
    struct px_limits limits = none;
    limits.cpu_seconds = 1;
    CHECK(px_limits_enter(&limits) == 0);
    signal(SIGXCPU, SIG_IGN);
    for (;;)
        ;
}

static void test_limits(void **state)
{
    (void)state;
    run(numbers);
    run(rows_of_the_table);
    run(left_alone);
    run(below_hard_limit);
    run(memory_ends);
    run(files_end);
    run(threads_end);
    int status = forked_status(NULL, NULL, cpu_ends);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* ---- Privileges ---- */

static int is_bare(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2], empty[2] = {{0}};
    memset(sets, 0xff, sizeof sets);
    CHECK(syscall(SYS_capget, &header, sets) == 0);
    CHECK(memcmp(sets, empty, sizeof sets) == 0);
    for (unsigned long i = 0; i < 64; i++)
        CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) <= 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    return 0;
}

/* All capabilities: as root, or in a new user namespace. */
static int drop_all(void)
{
    CHECK(geteuid() == 0 || unshare(CLONE_NEWUSER) == 0);
    CHECK(px_privileges_drop() == 0);
    CHECK(is_bare() == 0);
    int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
    CHECK((bits & SECURE_ALL_LOCKS) == (int)SECURE_ALL_LOCKS);
    CHECK((bits & SECBIT_NOROOT) && (bits & SECBIT_NO_SETUID_FIXUP) && (bits & SECBIT_NO_CAP_AMBIENT_RAISE) &&
          !(bits & SECBIT_KEEP_CAPS));
    CHECK(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHECK(setresuid(1, 1, 1) == -1);
    CHECK(px_privileges_drop() == 0); /* a second call finds nothing to do */
    return 0;
}

static int drop_nothing(void)
{
    CHECK(become_unprivileged());
    CHECK(px_privileges_drop() == 0);
    CHECK(is_bare() == 0);
    return 0;
}

static void test_privileges(void **state)
{
    (void)state;
    run(drop_all);
    run(drop_nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_privileges),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
