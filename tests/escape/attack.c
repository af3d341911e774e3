/* Machine code for native_code.py (as bare bytes) and files_library.py (as a library): system calls
 * with nothing between them and the kernel. Bit i of the answer: attempt i succeeded. */
static long call(long n, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

long attack(const char *secret, long pid)
{
    long got = 0, made;
    got |= (call(2, (long)secret, 0, 0, 0) >= 0) << 0;      /* open */
    got |= (call(257, -100, (long)secret, 0, 0) >= 0) << 1; /* openat */
    got |= (call(41, 2, 2, 0, 0) >= 0) << 2;                /* socket, UDP */
    got |= (call(62, pid, 0, 0, 0) >= 0) << 3;              /* kill */
    made = call(57, 0, 0, 0, 0);                            /* fork */
    if (made == 0)
        call(60, 0, 0, 0, 0);
    got |= (made >= 0) << 4;
    got |= (call(59, (long)secret, 0, 0, 0) >= 0) << 5;   /* execve */
    got |= (call(319, (long)secret, 0, 0, 0) >= 0) << 6;  /* memfd_create */
    got |= (call(425, 8, (long)secret, 0, 0) >= 0) << 7;  /* io_uring_setup */
    got |= (call(117, 0, 0, 0, 0) >= 0) << 8;             /* setresuid */
    got |= (call(434, pid, 0, 0, 0) >= 0) << 9;           /* pidfd_open */
    got |= (call(29, 0x7078, 4096, 01666, 0) >= 0) << 10; /* shmget */
    return got;
}
