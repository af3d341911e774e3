/* SPDX-License-Identifier: Apache-2.0 */
/* Machine code that writes to files for ever and never returns to Python. Its .text is taken out of the object file,
 * so it uses no library and no data. */
struct job {
    long file;                /* gets one byte after the other */
    volatile long *first;     /* of a shared mapping of a file */
    volatile long *second;    /* gets the same number after the first */
    long leader_leaves_after; /* microseconds after which the calling thread ends alone; 0: it writes itself */
};

#ifdef __x86_64__
enum { WRITE = 1, EXIT = 60, NANOSLEEP = 35 };
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#else
enum { WRITE = 64, EXIT = 93, NANOSLEEP = 101 };
static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#endif

/* The first function: the entry is the first byte. */
__attribute__((section(".text.entry"))) void *late_writer(struct job *job)
{
    if (job->leader_leaves_after) {
        long pause[2] = {0, job->leader_leaves_after * 1000};
        call(NANOSLEEP, (long)pause, 0, 0);
        call(EXIT, 0, 0, 0);
    }
    for (long n = 1;; n++) {
        char byte = 'x';
        *job->first = n;
        *job->second = n;
        call(WRITE, job->file, (long)&byte, 1);
    }
}
