/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the system calls of a program while it runs: count_calls FILE PROGRAM ARGUMENT…
 * FILE gets two 64-bit numbers, which are always up to date: calls of the program's own threads, and calls of every
 * process that it started. Exits as the program does, or with 77 when this machine does not let it trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANNOT_TRACE 77
#define OPTIONS \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL)

static uint64_t *counts;
static pid_t program;

static pid_t start(char **command)
{
    int gate[2];
    char byte;
    if (pipe2(gate, O_CLOEXEC) < 0)
        exit(3);
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        if (read(gate[0], &byte, 1) == 0) /* until it is traced */
            execv(command[0], command);
        _exit(3);
    }
    close(gate[0]);
    if (pid < 0 || ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0) {
        perror("ptrace");
        exit(CANNOT_TRACE);
    }
    close(gate[1]);
    return pid;
}

static void count(pid_t thread)
{
    struct __ptrace_syscall_info info;
    char path[64];
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return;
    /* The clocks of the machine: on most machines vdso(7) answers, without a system call. The clock of another
     * process has a negative number. */
    if (info.entry.nr == SYS_clock_gettime && (int)info.entry.args[0] >= 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/task/%d", program, thread);
    __atomic_add_fetch(&counts[access(path, F_OK) != 0], 1, __ATOMIC_RELAXED);
}

static void go_on(pid_t thread, int status)
{
    int signal = WSTOPSIG(status), event = status >> 16;
    if (signal == (SIGTRAP | 0x80))
        count(thread);
    if (event == PTRACE_EVENT_STOP && signal != SIGTRAP)
        ptrace(PTRACE_LISTEN, thread, 0, 0); /* stopped by a signal, and it stays so */
    else
        ptrace(PTRACE_SYSCALL, thread, 0, event || signal == (SIGTRAP | 0x80) ? 0 : signal);
}

int main(int argc, char **argv)
{
    int fd = argc > 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1, status, ended = 3;
    counts = mmap(NULL, 2 * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counts == MAP_FAILED) {
        perror("count_calls");
        return 3;
    }
    close(fd);
    program = start(argv + 2);
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        if (thread > 0 && WIFSTOPPED(status))
            go_on(thread, status);
        else if (thread == program)
            ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return ended;
}
