/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a program as on Linux 5.13: old_kernel PROGRAM ARGUMENT…
 *
 * A seccomp filter, which all descendants inherit, answers ENOSYS to each system call that is newer, and refuses what
 * Landlock's first ABI refuses. A filter can only return errors. So a call that asks for Landlock's ABI is passed to this
 * process (SECCOMP_RET_USER_NOTIF), which answers 1. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The same numbers on all architectures. */
#define CREATE_RULESET 444
#define RESTRICT_SELF 446 /* the last call of Linux 5.13 */
#define X32_BIT 0x40000000
#define FIRST_ABI_ATTR_SIZE 8

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define IF(test, value, yes, no) BPF_JUMP(BPF_JMP | test | BPF_K, value, yes, no)

static int install_filter(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        IF(BPF_JEQ, CREATE_RULESET, 4, 0),
        IF(BPF_JEQ, RESTRICT_SELF, 9, 0),
        IF(BPF_JGE, X32_BIT, 1, 0),
        IF(BPF_JGT, RESTRICT_SELF, 9, 0),
        RETURN(SECCOMP_RET_ALLOW),
        /* landlock_create_ruleset(attr, size, flags) */
        LOAD(args[2]),
        IF(BPF_JEQ, 1, 7, 0),
        IF(BPF_JGT, 0, 7, 0),
        LOAD(args[1]),
        IF(BPF_JGT, FIRST_ABI_ATTR_SIZE, 6, 0),
        RETURN(SECCOMP_RET_ALLOW),
        /* landlock_restrict_self(ruleset, flags) */
        LOAD(args[1]),
        IF(BPF_JGT, 0, 2, 4),
        RETURN(SECCOMP_RET_ERRNO | ENOSYS),
        RETURN(SECCOMP_RET_USER_NOTIF),
        RETURN(SECCOMP_RET_ERRNO | EINVAL),
        RETURN(SECCOMP_RET_ERRNO | E2BIG),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    /* Root keeps programs that gain privileges, such as sudo, working. */
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void answer(int listener)
{
    struct seccomp_notif request = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
        return; /* the caller was killed meanwhile */
    struct seccomp_notif_resp response = {.id = request.id, .val = 1};
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static int send_descriptor(int channel, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    struct iovec byte = {.iov_base = "", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    return sendmsg(channel, &message, 0) == 1 ? 0 : -1;
}

static int receive_descriptor(int channel)
{
    char space[CMSG_SPACE(sizeof(int))];
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    int fd = -1;
    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

static void become(char **arguments, int channel)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int listener = install_filter();
    if (listener < 0 || send_descriptor(channel, listener) < 0) {
        perror("old_kernel: can't install the filter");
        _exit(125);
    }
    close(listener);
    close(channel);
    execvp(arguments[0], arguments);
    perror("old_kernel: can't start the program");
    _exit(125);
}

int main(int argc, char **argv)
{
    int ends[2];
    if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return 125;
    pid_t child = fork();
    if (child < 0)
        return 125;
    if (child == 0)
        become(argv + 1, ends[1]);
    close(ends[1]);
    int listener = receive_descriptor(ends[0]);
    /* POLLHUP: no process has the filter any more. */
    struct pollfd filtered = {.fd = listener, .events = POLLIN};
    while (listener >= 0 && (poll(&filtered, 1, -1) > 0 || errno == EINTR) && !(filtered.revents & (POLLHUP | POLLERR)))
        if (filtered.revents & POLLIN)
            answer(listener);
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
