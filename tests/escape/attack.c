/* Machine code for native_code.py (as bare bytes) and files_library.py (as a library): system calls
 * with nothing between them and the kernel. Bit i of the answer: attempt i succeeded. */
#include <asm/unistd.h>

static long call(long n, long a, long b, long c, long d)
{
#ifdef __x86_64__
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

long attack(const char *secret, long pid)
{
    long got = 0, made;
#ifdef __NR_open /* the older calls, which arm64 lacks */
    got |= (call(__NR_open, (long)secret, 0, 0, 0) >= 0) << 0;
    made = call(__NR_fork, 0, 0, 0, 0);
#else
    made = call(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0);
#endif
    if (made == 0)
        call(__NR_exit, 0, 0, 0, 0);
    got |= (made >= 0) << 4;
    got |= (call(__NR_openat, -100, (long)secret, 0, 0) >= 0) << 1;
    got |= (call(__NR_socket, 2, 2, 0, 0) >= 0) << 2; /* UDP */
    got |= (call(__NR_kill, pid, 0, 0, 0) >= 0) << 3;
    got |= (call(__NR_execve, (long)secret, 0, 0, 0) >= 0) << 5;
    got |= (call(__NR_memfd_create, (long)secret, 0, 0, 0) >= 0) << 6;
    got |= (call(__NR_io_uring_setup, 8, (long)secret, 0, 0) >= 0) << 7;
    got |= (call(__NR_setresuid, 0, 0, 0, 0) >= 0) << 8;
    got |= (call(__NR_pidfd_open, pid, 0, 0, 0) >= 0) << 9;
    got |= (call(__NR_shmget, 0x7078, 4096, 01666, 0) >= 0) << 10;
    return got;
}
