/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/thread_id.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* `cleared` is the word that the kernel clears when the thread ends. glibc gives it the thread's id; musl, the lock of its list of
 * threads, and keeps the id elsewhere. */
static int *address, *cleared;

/* PR_GET_TID_ADDRESS needs a kernel with CONFIG_CHECKPOINT_RESTORE. On other kernels, and with musl, this searches the thread's
 * descriptor for the number. */
int *px_thread_id_address(void)
{
    if (address)
        return address;
    int id = (int)syscall(SYS_gettid), *descriptor = (int *)pthread_self();
    if (prctl(PR_GET_TID_ADDRESS, &cleared, 0, 0, 0) == 0 && cleared && *cleared == id)
        return address = cleared;
    for (size_t i = 0; i < 512; i++)
        if (descriptor[i] == id)
            return address = &descriptor[i];
    return NULL;
}

void px_thread_id_in_copy(void)
{
    if (cleared && cleared != address)
        syscall(SYS_set_tid_address, cleared);
}
