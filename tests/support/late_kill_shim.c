/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: SIGKILL through a pidfd arrives 20 ms after the call, as on a machine whose CPUs are late. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call(long number, const long a[6])
{
    static long (*next)(long, ...);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void *kill_later(void *argument)
{
    int pidfd = (int)(intptr_t)argument;
    usleep(20000);
    call(SYS_pidfd_send_signal, (long[6]){pidfd, SIGKILL});
    close(pidfd);
    return NULL;
}

long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    pthread_t thread;
    int copy;
    if (number != SYS_pidfd_send_signal || a[1] != SIGKILL || (copy = fcntl((int)a[0], F_DUPFD_CLOEXEC, 0)) < 0)
        return call(number, a);
    if (pthread_create(&thread, NULL, kill_later, (void *)(intptr_t)copy) == 0)
        pthread_detach(thread);
    return 0;
}
