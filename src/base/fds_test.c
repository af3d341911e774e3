/* SPDX-License-Identifier: Apache-2.0 */
/* Whole writes, messages with descriptors, sealed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"

static void make_pair(int ret[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret), 0);
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The lowest free descriptor: the same before and after when nothing leaked. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_a_packet_comes_also_from_an_end_that_was_closed_with_unread_bytes(void **state)
{
    int pair[2];
    char bytes[16];
    (void)state;
    make_pair(pair);
    assert_int_equal(px_send(pair[0], "unread", 6, 0), 6);
    assert_int_equal(px_send(pair[1], "result", 6, 0), 6);
    close(pair[1]);
    assert_int_equal(px_receive_packet(pair[0], bytes, sizeof bytes, MSG_DONTWAIT), 6);
    assert_memory_equal(bytes, "result", 6);
    assert_int_equal(px_receive_packet(pair[0], bytes, sizeof bytes, MSG_DONTWAIT), 0);
    close(pair[0]);
}

static void test_message_without_fds(void **state)
{
    (void)state;
    int pair[2];
    char bytes[16];
    size_t count = 9;
    make_pair(pair);
    assert_int_equal(px_send_fds(pair[0], "hello", 5, NULL, 0), 0);
    assert_int_equal(px_receive_fds(pair[1], bytes, sizeof bytes, NULL, 0, NULL), 5);
    assert_memory_equal(bytes, "hello", 5);
    close(pair[0]);
    assert_int_equal(px_receive_fds(pair[1], bytes, sizeof bytes, NULL, 0, &count), 0);
    assert_int_equal(count, 0);
    errno = 0;
    assert_int_equal(px_send_fds(pair[1], "x", 1, NULL, 0), -1); /* no SIGPIPE */
    assert_int_equal(errno, EPIPE);
    close(pair[1]);
}

static void test_message_with_fds(void **state)
{
    (void)state;
    int pair[2], sent[PX_FDS_MAX], got[PX_FDS_MAX];
    char bytes[16];
    size_t count = 0;
    make_pair(pair);
    for (size_t i = 0; i < PX_FDS_MAX; i++)
        sent[i] = dup(pair[0]);
    assert_int_equal(px_send_fds(pair[0], "m", 1, sent, PX_FDS_MAX), 0);
    for (size_t i = 0; i < PX_FDS_MAX; i++)
        assert_true(is_open(sent[i]));
    assert_int_equal(px_receive_fds(pair[1], bytes, sizeof bytes, got, PX_FDS_MAX, &count), 1);
    assert_int_equal(count, PX_FDS_MAX);
    for (size_t i = 0; i < PX_FDS_MAX; i++)
        assert_int_equal(fcntl(got[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    px_close_fds(got, count);
    px_close_fds(sent, PX_FDS_MAX);
    for (size_t i = 0; i < PX_FDS_MAX; i++)
        assert_int_equal(got[i], -1);
    assert_int_equal(px_send_fds(pair[0], "m", 1, sent, PX_FDS_MAX + 1), -1);
    assert_int_equal(errno, EINVAL);
    px_close_fds(pair, 2);
}

static void test_surplus_fds_are_closed(void **state)
{
    (void)state;
    for (size_t max = 0; max < 4; max++) {
        int pair[2], sent[4], got[4] = {-1, -1, -1, -1};
        char byte;
        size_t count = 9;
        make_pair(pair);
        for (size_t i = 0; i < 4; i++)
            sent[i] = dup(pair[0]);
        assert_int_equal(px_send_fds(pair[0], "m", 1, sent, 4), 0);
        int before = lowest_free();
        assert_int_equal(px_receive_fds(pair[1], &byte, 1, got, max, &count), 1);
        assert_int_equal(count, max);
        px_close_fds(got, count);
        assert_int_equal(lowest_free(), before);
        px_close_fds(sent, 4);
        px_close_fds(pair, 2);
    }
}

static void test_message_too_long(void **state)
{
    (void)state;
    int pair[2], got[1] = {-1};
    char bytes[4];
    size_t count = 9;
    make_pair(pair);
    assert_int_equal(px_send_fds(pair[0], "too long", 8, pair, 1), 0);
    int before = lowest_free();
    assert_int_equal(px_receive_fds(pair[1], bytes, sizeof bytes, got, 1, &count), -1);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(count, 0);
    assert_int_equal(got[0], -1);
    assert_int_equal(lowest_free(), before);
    px_close_fds(pair, 2);
}

static void test_memory_file(void **state)
{
    (void)state;
    char bytes[32];
    px_auto_fd int fd = px_memory_file("test", "contents", 8);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof bytes), 8);
    assert_memory_equal(bytes, "contents", 8);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, 0), -1);
    px_auto_fd int empty = px_memory_file("empty", NULL, 0);
    assert_true(empty >= 0);
}

static void test_read_all_stops_above_the_limit(void **state)
{
    (void)state;
    px_auto_fd int fd = px_memory_file("test", "contents", 8);
    px_auto_buffer struct px_buffer all = {0}, cut = {0};
    px_buffer_add_string(&all, "the ");
    assert_int_equal(px_read_all(fd, &all, 12), 0);
    assert_string_equal(px_buffer_string(&all), "the contents");
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(px_read_all(fd, &cut, 7), -1);
    assert_int_equal(errno, EFBIG);
    assert_true(cut.length > 7);
    assert_int_equal(px_read_all(-1, &cut, 100), -1);
    assert_int_equal(errno, EBADF);
}

static void test_files(void **state)
{
    (void)state;
    char bytes[8];
    assert_int_equal(px_read_small_file(AT_FDCWD, "/proc/self/comm", bytes, 4), 3);
    assert_int_equal(strlen(bytes), 3);
    assert_int_equal(px_read_small_file(AT_FDCWD, "/dev/null", bytes, sizeof bytes), 0);
    assert_string_equal(bytes, "");
    errno = 0;
    assert_int_equal(px_read_small_file(AT_FDCWD, "/nonexistent", bytes, sizeof bytes), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(px_read_small_file(AT_FDCWD, "/", bytes, sizeof bytes), -1);
    assert_int_equal(errno, EISDIR);
}

static void test_write_all(void **state)
{
    (void)state;
    int ends[2];
    char bytes[8] = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(px_write_all(ends[1], "abc", 3), 0);
    assert_int_equal(px_write_all(ends[1], "", 0), 0);
    assert_int_equal(read(ends[0], bytes, sizeof bytes), 3);
    errno = 0;
    assert_int_equal(px_write_all(-1, "abc", 3), -1);
    assert_int_equal(errno, EBADF);
    px_close_fds(ends, 2);
    assert_true(px_now_ns() > 0);
}

static void test_wake(void **state)
{
    (void)state;
    uint64_t count;
    px_auto_fd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(px_wake(fd));
    assert_true(px_wake(fd));
    assert_true(px_wake_take(fd));
    assert_false(px_wake_take(fd));
    errno = ENOENT;
    count = UINT64_MAX - 1; /* the greatest value of an eventfd: eventfd(2) */
    assert_int_equal(write(fd, &count, sizeof count), sizeof count);
    assert_false(px_wake(fd));
    assert_false(px_wake(-1));
    assert_int_equal(errno, ENOENT);
}

static void test_number_after(void **state)
{
    (void)state;
    static const char text[] = "Name:\tThreads: 9\nNSpid:\t7\nPid:\t-1\nThreads:\t12\nVmHWM:\t  3456 kB\noom_kill 2\n"
                               "max 18446744073709551615\nEmpty:";
    assert_int_equal(px_number_after(text, "Threads:", 0), 12); /* the name of a process may look like a key */
    assert_int_equal((int)px_number_after(text, "Pid:", 0), -1);
    assert_int_equal(px_number_after(text, "VmHWM:", 0), 3456);
    assert_int_equal(px_number_after(text, "oom ", 5), 5);
    assert_int_equal(px_number_after(text, "oom_kill ", 5), 2);
    assert_int_equal(px_number_after(text, "max ", 0), UINT64_MAX);
    assert_int_equal(px_number_after("Pid: 8", "Pid:", 0), 8);
    assert_int_equal(px_number_after(text, "Empty:", 5), 0);
    assert_int_equal(px_number_after("", "Pid:", 5), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_after),
        cmocka_unit_test(test_a_packet_comes_also_from_an_end_that_was_closed_with_unread_bytes),
        cmocka_unit_test(test_message_without_fds),
        cmocka_unit_test(test_message_with_fds),
        cmocka_unit_test(test_surplus_fds_are_closed),
        cmocka_unit_test(test_message_too_long),
        cmocka_unit_test(test_memory_file),
        cmocka_unit_test(test_read_all_stops_above_the_limit),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
