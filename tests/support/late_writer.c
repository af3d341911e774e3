/* SPDX-License-Identifier: Apache-2.0 */
/* Machine code that writes to files for ever and never returns to Python. Its .text is taken out of the object file,
 * so it uses no library and no data. */
struct job {
    long file;                /* gets the number at its beginning */
    volatile long *first;     /* in a shared mapping of a file; gets the number before the others */
    volatile long *second;    /* gets it next */
    long leader_leaves_after; /* microseconds after which the calling thread ends alone; 0: it writes itself */
};

#ifdef __x86_64__
enum { PWRITE = 18, EXIT = 60, NANOSLEEP = 35 };
static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}
#else
enum { PWRITE = 68, EXIT = 93, NANOSLEEP = 101 };
static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                     x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#endif

/* The first function: the entry is the first byte. */
__attribute__((section(".text.entry"))) void *late_writer(struct job *job)
{
    if (job->leader_leaves_after) {
        long pause[2] = {0, job->leader_leaves_after * 1000};
        call(NANOSLEEP, (long)pause, 0, 0, 0);
        call(EXIT, 0, 0, 0, 0);
    }
    for (long n = 1;; n++) {
        *job->first = n;
        *job->second = n;
        call(PWRITE, job->file, (long)&n, sizeof n, 0);
    }
}
