/* SPDX-License-Identifier: Apache-2.0 */
/* The filters as the kernel runs them. Each case is a forked child that installs a filter,
 * whole or in its two parts, and returns 0 or the line that failed. */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#include "base/cleanup.h"
#include "sandbox/forked_test.h"
#include "sandbox/seccomp.h"
#include "sandbox/seccomp_programs.h"

#define HIGH 0xdeadbeef00000000ull /* bits that a script may set above an int argument */
#define THREAD_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define REFUSED(error, ...) CHECK(syscall(__VA_ARGS__) == -1 && errno == (error))

/* ---- Running a case ---- */

static struct {
    int number, code;
    unsigned arch;
} * trapped; /* shared with the children */

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    trapped->number = info->si_syscall;
    trapped->code = info->si_code;
    trapped->arch = info->si_arch;
}

/* Each network has a whole filter, and two parts of it: the zygote's and the child's. */
enum network { OFFLINE, ONLINE, NAMED, NETWORKS };

static const struct {
    const char *name;
    enum px_filter whole, zygote, child;
} filters_of[NETWORKS] = {
    [OFFLINE] = {"offline", PX_FILTER_OFFLINE, PX_FILTER_ZYGOTE_OFFLINE, PX_FILTER_CHILD},
    [ONLINE] = {"online", PX_FILTER_ONLINE, PX_FILTER_ZYGOTE_ONLINE, PX_FILTER_CHILD},
    [NAMED] = {"by name", PX_FILTER_NAMED, PX_FILTER_ZYGOTE_NAMED, PX_FILTER_CHILD_NAMED},
};

struct filters {
    enum network network;
    bool parts;
};

static int install(const void *how)
{
    const struct filters *filters = how;
    enum network network = filters->network;
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    int failed = sigaction(SIGSYS, &action, NULL) | prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (filters->parts)
        failed |= px_seccomp_enter(filters_of[network].zygote) | px_seccomp_enter(filters_of[network].child);
    else
        failed |= px_seccomp_enter(filters_of[network].whole);
    return failed ? -1 : 0;
}

static int status_of(enum network network, bool parts, int (*test)(void))
{
    int status = forked_status(install, &(struct filters){network, parts}, test);
    if (WIFEXITED(status) && status != 0)
        dprintf(2, "%s %s, trapped %d\n", filters_of[network].name, parts ? "in parts" : "whole", trapped->number);
    return status;
}

static void run(enum network network, int (*test)(void))
{
    assert_int_equal(status_of(network, false, test), 0);
    assert_int_equal(status_of(network, true, test), 0);
}

static void run_all(int (*test)(void))
{
    for (enum network network = 0; network < NETWORKS; network++)
        run(network, test);
}

static void run_killed(int (*test)(void))
{
    for (int i = 0; i < 2 * NETWORKS; i++) {
        int status = status_of((enum network)(i / 2), i & 1, test);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

/* ---- Every row, every number ---- */

static bool is_trapped(long number)
{
    trapped->number = -1;
    syscall(number, 0, 0, 0, 0, 0, 0);
    return trapped->number == (int)number && trapped->code == 1 /* SYS_SECCOMP */;
}

static int errno_of(const char *action)
{
    static const struct {
        const char *name;
        int value;
    } errors[] = {{"errno EPERM", EPERM},   {"errno ENOSYS", ENOSYS}, {"errno EINVAL", EINVAL},
                  {"errno ENOMEM", ENOMEM}, {"errno ENOTTY", ENOTTY}, {"errno EOPNOTSUPP", EOPNOTSUPP}};
    for (size_t i = 0; i < PX_COUNT(errors); i++)
        if (strcmp(action, errors[i].name) == 0)
            return errors[i].value;
    return -1;
}

static const struct px_syscall_rule *only_rule_of(const char *name)
{
    size_t count, found = 0;
    const struct px_syscall_rule *rules = px_syscall_rules(&count), *rule = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rules[i].name, name) == 0) {
            rule = &rules[i];
            found++;
        }
    return found == 1 ? rule : NULL;
}

static bool has_rule(const char *name)
{
    size_t count;
    const struct px_syscall_rule *rules = px_syscall_rules(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rules[i].name, name) == 0)
            return true;
    return false;
}

/* uretprobe and uprobe of x86-64. Newer kernels (seen in 6.18) let these calls past every filter, so that a probe
 * does not kill a sandboxed program. Without a probe they answer SIGILL and ENXIO. */
static bool is_uprobe(int number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return (void)number, false;
#endif
}

/* Tries all refused calls with arguments of zero, and every number up to 1023. */
static int sweep(void)
{
    for (int number = 0; number < 1024; number++) {
        if (is_uprobe(number))
            continue;
        const char *name = px_syscall_name(number);
        if (!name) {
            REFUSED(ENOSYS, number, 0, 0, 0, 0, 0, 0);
            continue;
        }
        const struct px_syscall_rule *rule = only_rule_of(name);
        if (!has_rule(name) || (rule && strcmp(rule->action, "trap") == 0))
            CHECK(is_trapped(number));
        else if (rule && errno_of(rule->action) > 0)
            REFUSED(errno_of(rule->action), number, 0, 0, 0, 0, 0, 0);
    }
    return 0;
}

static void test_sweep(void **state)
{
    (void)state;
    run_all(sweep);
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(px_syscall_name(SYS_read), "read");
    assert_string_equal(px_syscall_name(SYS_ptrace), "ptrace");
    assert_null(px_syscall_name(-1));
    assert_null(px_syscall_name(100000));
    size_t count;
    const struct px_syscall_rule *rules = px_syscall_rules(&count);
    for (size_t i = 0; i < count; i++) {
        assert_true(rules[i].reason[0] != '\0');
        const char *action = rules[i].action;
        assert_true(strcmp(action, "allow") == 0 || strcmp(action, "online") == 0 || strcmp(action, "trap") == 0 ||
                    errno_of(action) > 0 || strcmp(action, "errno 0") == 0);
    }
    for (int i = 0; i < PX_FILTER_COUNT; i++)
        assert_in_range(px_seccomp_programs[i].len, 10, 400);
}

/* ---- Traps, other architectures, numbers ---- */

static int trap_tells(void)
{
    CHECK(is_trapped(SYS_unshare));
    CHECK(is_trapped(SYS_mount));
    CHECK(is_trapped(SYS_ptrace));
#ifdef __x86_64__
    CHECK(trapped->arch == 0xc000003e);
#endif
    CHECK(syscall(SYS_getpid) == getpid());
    return 0;
}

static void block_traps(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        _exit(250);
}

static int trap_blocked(void)
{
    block_traps();
    syscall(SYS_ptrace, 0, 0, 0, 0);
    return 0;
}

static int hook_refused(void)
{
    REFUSED(EPERM, SYS_rt_sigaction, SIGSYS, NULL, NULL, 8);
    REFUSED(EPERM, SYS_rt_sigaction, HIGH | SIGSYS, NULL, NULL, 8);
    CHECK(signal(SIGSYS, SIG_IGN) == SIG_ERR && errno == EPERM);
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(is_trapped(SYS_ptrace));
    return 0;
}

static void test_traps(void **state)
{
    (void)state;
    run_all(trap_tells);
    run_all(hook_refused);
    run_killed(trap_blocked);
}

#ifdef __x86_64__
#define X32 0x40000000u

static long raw(uint64_t number, uint64_t argument)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(argument), "S"(0), "d"(0) : "rcx", "r11", "memory");
    return result;
}

static int int_80(void)
{
    long result;
    trapped->number = -2;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L /* getpid of i386 */) : "memory");
    CHECK(trapped->number == 20 && trapped->code == 1 /* SYS_SECCOMP */);
    CHECK(trapped->arch == 0x40000003 && result == 20);
    return 0;
}

/* Tries x32 numbers, the highest number and -1, each with the architecture that all other tests have. */
static int x32(void)
{
    const uint32_t numbers[] = {X32 | SYS_getpid, X32 | 520 /* execve */, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        trapped->number = -2;
        CHECK((uint32_t)raw(numbers[i], 0) == numbers[i]);
        CHECK(trapped->number == (int)numbers[i] && trapped->arch == 0xc000003e);
    }
    return 0;
}

static int int_80_blocked(void)
{
    block_traps();
    return int_80();
}

/* Since 5.14 the kernel takes the lower half of rax; before, it refused a number with any upper half. */
static int upper_half_of_number(void)
{
    trapped->number = -1;
    long result = raw(HIGH | SYS_ptrace, 0);
    CHECK(trapped->number == SYS_ptrace || result == -ENOSYS);
    result = raw(HIGH | SYS_socket, AF_UNIX);
    CHECK(result == -EPERM || result == -ENOSYS);
    return 0;
}

static void test_architectures(void **state)
{
    (void)state;
    run_all(int_80);
    run_all(x32);
    run_killed(int_80_blocked);
    run_all(upper_half_of_number);
}
#else
static void test_architectures(void **state)
{
    (void)state;
    skip();
}
#endif

/* ---- Processes and threads ---- */

static int clone_flags(void)
{
    REFUSED(EPERM, SYS_clone, SIGCHLD, 0, 0, 0, 0);
    REFUSED(EPERM, SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    REFUSED(EPERM, SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
    for (unsigned bit = 0; bit < 64; bit++)
        if (1ull << bit != CLONE_DETACHED) /* allowed: threads_test.c */
            REFUSED(EPERM, SYS_clone, (uint64_t)THREAD_FLAGS ^ 1ull << bit, 0, 0, 0, 0);
    REFUSED(EPERM, SYS_clone, HIGH | THREAD_FLAGS, 0, 0, 0, 0);
    REFUSED(ENOSYS, SYS_clone3, NULL, 0);
    CHECK(fork() == -1 && errno == EPERM);
#ifdef SYS_vfork
    REFUSED(EPERM, SYS_vfork);
#endif
    REFUSED(EPERM, SYS_execve, "/bin/true", NULL, NULL);
    REFUSED(EPERM, SYS_execveat, -1, "/bin/true", NULL, NULL, 0);
    return 0;
}

static void *set_seven(void *argument)
{
    *(int *)argument = 7;
    return NULL;
}

static int threads_start(void)
{
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        int value = 0;
        CHECK(pthread_create(&thread, NULL, set_seven, &value) == 0);
        CHECK(pthread_join(thread, NULL) == 0 && value == 7);
    }
    return 0;
}

static int signals_stay_inside(void)
{
    REFUSED(EPERM, SYS_kill, 0, 0);
    REFUSED(EPERM, SYS_kill, HIGH, 0);
    CHECK(kill(getpid(), 0) == 0);
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) == 0);
    REFUSED(EPERM, SYS_setpriority, PRIO_PGRP, 0, 1);
    REFUSED(EPERM, SYS_getpriority, PRIO_PGRP, 0);
    REFUSED(EPERM, SYS_getpriority, HIGH | PRIO_USER, 0);
    CHECK(syscall(SYS_getpriority, PRIO_PROCESS, 0) > 0);
    return 0;
}

static int own_state(void)
{
    struct rlimit limit;
    char before[16] = "", after[16] = "";
    CHECK(prctl(PR_GET_NAME, before, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_NAME, "another", 0, 0, 0) == 0 && prctl(PR_GET_NAME, after, 0, 0, 0) == 0);
    CHECK(strcmp(before, after) == 0);
    REFUSED(EPERM, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    REFUSED(EPERM, SYS_prctl, HIGH | PR_SET_DUMPABLE, 1, 0, 0, 0);
    REFUSED(EPERM, SYS_prctl, PR_SET_SECCOMP, 2, 0, 0, 0);
    CHECK(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) == 0);
    REFUSED(EPERM, SYS_prlimit64, getppid(), RLIMIT_AS, NULL, &limit);
    REFUSED(EPERM, SYS_prlimit64, HIGH | (unsigned)getppid(), RLIMIT_AS, NULL, &limit);
    return 0;
}

static void test_processes(void **state)
{
    (void)state;
    run_all(clone_flags);
    run_all(threads_start);
    run_all(signals_stay_inside);
    run_all(own_state);
}

/* ---- Descriptors and memory ---- */

static int descriptors(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    for (int i = 0; i < 2; i++) {
        uint64_t high = i ? HIGH : 0;
        REFUSED(ENOTTY, SYS_ioctl, fds[0], high | TIOCSTI, "x");
        REFUSED(ENOTTY, SYS_ioctl, fds[0], high | TIOCSCTTY, 0);
        REFUSED(ENOTTY, SYS_ioctl, fds[0], high | FIOASYNC, &fds[1]);
        REFUSED(EOPNOTSUPP, SYS_ioctl, fds[0], high | 0x40049409u /* FICLONE */, 0);
        CHECK(syscall(SYS_ioctl, fds[0], high | FIOCLEX, 0) == 0);
        REFUSED(EPERM, SYS_fcntl, fds[0], high | F_SETPIPE_SZ, 1 << 20);
        REFUSED(EPERM, SYS_fcntl, fds[0], high | F_SETOWN, 1);
        REFUSED(EPERM, SYS_fcntl, fds[0], high | F_SETLEASE, F_RDLCK);
        CHECK(syscall(SYS_fcntl, fds[0], high | F_GETFD) == FD_CLOEXEC);
    }
    REFUSED(EINVAL, SYS_pipe2, fds, O_EXCL /* O_NOTIFICATION_PIPE */);
    CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    REFUSED(EINVAL, SYS_renameat2, -1, "a", -1, "b", 4 /* RENAME_WHITEOUT */);
    REFUSED(EBADF, SYS_renameat2, -1, "a", -1, "b", 1 /* RENAME_NOREPLACE */);
    REFUSED(EOPNOTSUPP, SYS_fallocate, -1, 8 /* FALLOC_FL_COLLAPSE_RANGE */, 0, 1);
    REFUSED(EOPNOTSUPP, SYS_fallocate, -1, 1 /* FALLOC_FL_KEEP_SIZE */, 0, 1);
    REFUSED(EBADF, SYS_fallocate, -1, 3 /* and FALLOC_FL_PUNCH_HOLE */, 0, 1);
    REFUSED(EBADF, SYS_fallocate, -1, 0, 0, 1);
    return 0;
}

static int memory(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK(mmap(NULL, 4096, PROT_READ, flags | MAP_HUGETLB, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(madvise(page, 4096, MADV_DONTNEED) == 0);
    REFUSED(EINVAL, SYS_madvise, page, 4096, MADV_MERGEABLE);
    REFUSED(EINVAL, SYS_madvise, page, 4096, HIGH | MADV_MERGEABLE);
    REFUSED(ENOSYS, SYS_memfd_create, "x", 0);
    return 0;
}

static void test_descriptors_and_memory(void **state)
{
    (void)state;
    run_all(descriptors);
    run_all(memory);
}

/* ---- Sockets ---- */

static int no_family(void)
{
    for (uint64_t domain = 0; domain < 64; domain++) {
        REFUSED(EPERM, SYS_socket, domain, SOCK_DGRAM, 0);
        REFUSED(EPERM, SYS_socket, HIGH | domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    REFUSED(EPERM, SYS_connect, 0, NULL, 0);
    REFUSED(EPERM, SYS_bind, 0, NULL, 0);
    REFUSED(EPERM, SYS_listen, 0, 1);
    REFUSED(EPERM, SYS_accept4, 0, NULL, NULL, 0);
    REFUSED(EPERM, SYS_setsockopt, 0, IPPROTO_TCP, 1, NULL, 0);
    return 0;
}

static int only_inet(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP), one = 1;
    CHECK(fd >= 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one) == 0);
    REFUSED(EPERM, SYS_setsockopt, fd, IPPROTO_TCP, 31 /* TCP_ULP */, "tls", 3);
    REFUSED(EPERM, SYS_setsockopt, fd, IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */, &one, sizeof one);
    CHECK(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
    for (int domain = 0; domain < 64; domain++)
        if (domain != AF_INET && domain != AF_INET6)
            REFUSED(EPERM, SYS_socket, domain, SOCK_STREAM, 0);
    REFUSED(EPERM, SYS_socket, HIGH | AF_UNIX, SOCK_STREAM, 0);
    REFUSED(EPERM, SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP);
    REFUSED(EPERM, SYS_socket, AF_INET, HIGH | SOCK_RAW, IPPROTO_TCP);
    REFUSED(EPERM, SYS_socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    REFUSED(EPERM, SYS_socket, AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */);
    REFUSED(EPERM, SYS_socket, AF_INET, SOCK_STREAM, 132 /* IPPROTO_SCTP */);
    return 0;
}

/* TCP over IPv4, as a client. */
static int only_clients(void)
{
    struct sockaddr_in proxy = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(1)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP), one = 1;
    CHECK(fd >= 0 && socket(AF_INET, SOCK_STREAM, 0) >= 0);
    for (uint64_t domain = 0; domain < 64; domain++)
        for (uint64_t type = 0; type < 16; type++)
            if (domain != AF_INET || type != SOCK_STREAM) {
                REFUSED(EPERM, SYS_socket, domain, type, 0);
                REFUSED(EPERM, SYS_socket, domain, type | SOCK_CLOEXEC, 0);
            }
    REFUSED(EPERM, SYS_socket, HIGH | AF_INET6, SOCK_STREAM, 0);
    REFUSED(EPERM, SYS_socket, AF_INET, HIGH | SOCK_DGRAM, 0);
    for (uint64_t protocol = 1; protocol < 300; protocol++)
        if (protocol != IPPROTO_TCP)
            REFUSED(EPERM, SYS_socket, AF_INET, SOCK_STREAM, protocol);
    CHECK(connect(fd, (struct sockaddr *)&proxy, sizeof proxy) == -1 && errno != EPERM);
    REFUSED(EPERM, SYS_connect, fd, &six, sizeof six);
    REFUSED(EPERM, SYS_connect, fd, &proxy, HIGH | sizeof six);
    REFUSED(EPERM, SYS_connect, fd, "\1\0/x", 110);
    REFUSED(EPERM, SYS_bind, fd, &proxy, sizeof proxy);
    REFUSED(EPERM, SYS_listen, fd, 1);
    REFUSED(EPERM, SYS_accept, fd, NULL, NULL);
    REFUSED(EPERM, SYS_accept4, fd, NULL, NULL, 0);
    REFUSED(EPERM, SYS_sendmmsg, fd, NULL, 0, 0);
    REFUSED(EPERM, SYS_recvmmsg, fd, NULL, 0, 0, NULL);
    CHECK(syscall(SYS_sendto, fd, "x", 1, 0x20000000 /* MSG_FASTOPEN */, &proxy, sizeof proxy) == -1 &&
          errno != EINPROGRESS);
    CHECK(setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one) == 0);
    REFUSED(EPERM, SYS_setsockopt, fd, IPPROTO_TCP, 30 /* TCP_FASTOPEN_CONNECT */, &one, sizeof one);
    REFUSED(EPERM, SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    return 0;
}

static int pairs(void)
{
    int fds[2], one = 1, type = 0;
    socklen_t size = sizeof type;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        uint64_t high = i ? HIGH : 0;
        REFUSED(EPERM, SYS_socketpair, high | AF_UNIX, SOCK_DGRAM, 0, fds);
        REFUSED(EPERM, SYS_socketpair, AF_UNIX, high | SOCK_DGRAM, 0, fds);
        REFUSED(EPERM, SYS_socketpair, high | AF_INET, SOCK_STREAM, 0, fds);
        REFUSED(EOPNOTSUPP, SYS_sendto, fds[0], "x", 1, high | MSG_OOB, NULL, 0);
        REFUSED(EOPNOTSUPP, SYS_recvfrom, fds[0], &one, 1, high | MSG_OOB, NULL, NULL);
        REFUSED(EPERM, SYS_setsockopt, fds[0], SOL_SOCKET, high | SO_PASSCRED, &one, sizeof one);
        REFUSED(EPERM, SYS_setsockopt, fds[0], SOL_SOCKET, high | SO_ATTACH_FILTER, &one, 4);
        REFUSED(EPERM, SYS_getsockopt, fds[0], SOL_SOCKET, high | 77 /* SO_PEERPIDFD */, &type, &size);
    }
    CHECK(send(fds[0], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1);
    CHECK(recv(fds[1], &one, 1, MSG_PEEK) == 1);
    CHECK(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM);
    return 0;
}

static void test_sockets(void **state)
{
    (void)state;
    run(OFFLINE, no_family);
    run(ONLINE, only_inet);
    run(NAMED, only_clients);
    run_all(pairs);
}

/* The zygote's part allows only the calls of the set-up in addition. */
static void test_zygote_part(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && px_seccomp_enter(PX_FILTER_ZYGOTE_OFFLINE) == 0 &&
                    prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) >= 0 && socket(AF_UNIX, SOCK_STREAM, 0) == -1 &&
                    errno == EPERM && syscall(SYS_execve, "/bin/true", NULL, NULL) == -1 && errno == EPERM;
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0)
            _exit(px_seccomp_enter(PX_FILTER_CHILD) < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != -1);
        int status = 1;
        good = good && child > 0 && waitpid(child, &status, 0) == child && status == 0;
        _exit(!good);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_needs_no_new_privs(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        _exit(!(px_seccomp_enter(PX_FILTER_OFFLINE) == -1 && errno == EACCES));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    trapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trapped == MAP_FAILED)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_traps),
        cmocka_unit_test(test_architectures),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_descriptors_and_memory),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_zygote_part),
        cmocka_unit_test(test_needs_no_new_privs),
    };
    return cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
}
