/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of what a process can't undo. Each case is a forked child that returns 0, or the number of the line
 * that failed. */
#ifndef PX_SANDBOX_FORKED_TEST_H
#define PX_SANDBOX_FORKED_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            return __LINE__; \
    } while (0)

/* The wait status of a child that calls `prepare` (unless NULL) and then runs the case. */
static int forked_status(int (*prepare)(const void *how), const void *how, int (*test)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prepare && prepare(how) < 0)
            _exit(250);
        int line = test();
        if (line != 0)
            dprintf(2, "line %d: errno %d (%s)\n", line, errno, strerror(errno));
        _exit(line != 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#endif
