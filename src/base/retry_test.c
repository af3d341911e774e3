/* SPDX-License-Identifier: Apache-2.0 */
#include "base/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static void tick(int number)
{
    (void)number;
}

/* A signal every `us` microseconds, to a handler without SA_RESTART. */
static void storm(int us)
{
    const struct sigaction action = {.sa_handler = tick};
    const struct itimerval timer = {{0, us}, {0, us}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Each wait is longer than the time between two signals: a wait that began again after each signal would never end. */
static void test_waits_end(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct pollfd polled = {ends[0], POLLIN, 0};
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
    assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 0);
    storm(500);
    int64_t before = px_now_ns();
    assert_int_equal(px_poll(&polled, 1, 20), 0);
    assert_true(px_now_ns() - before >= 20000000);
    before = px_now_ns();
    assert_int_equal(px_epoll_wait(epoll, &event, 1, 20), 0);
    assert_true(px_now_ns() - before >= 20000000);
    before = px_now_ns();
    px_sleep_ns(20000000);
    assert_true(px_now_ns() - before >= 20000000);
    storm(0);
    close(epoll);
    close(ends[0]);
    close(ends[1]);
}

static void test_calls_have_a_result(void **state)
{
    (void)state;
    int ends[2], status;
    char bytes[4];
    struct pollfd polled = {-1, POLLIN, 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    storm(1000);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 3; i++) {
            usleep(3000);
            (void)!write(ends[1], "abc", 3);
        }
        _exit(7);
    }
    assert_int_equal(px_read(ends[0], bytes, 3), 3);
    assert_int_equal(px_recv(ends[0], bytes, 3, 0), 3);
    struct iovec part = {bytes, 3};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    assert_int_equal(px_recvmsg(ends[0], &message, 0), 3);
    assert_int_equal(px_waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(px_poll(&polled, 1, 0), 0);
    storm(0);
    close(ends[0]);
    close(ends[1]);
}

/* This wait has no time limit: only the signal ends it. */
static void test_a_signal_can_be_meant(void **state)
{
    (void)state;
    struct pollfd polled = {-1, POLLIN, 0};
    storm(1000);
    assert_int_equal(px_ppoll_or_signal(&polled, 1, NULL), -1);
    storm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_end),
        cmocka_unit_test(test_calls_have_a_result),
        cmocka_unit_test(test_a_signal_can_be_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
