/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/thread_id.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORDS 512u      /* of a thread's descriptor that are searched */
#define SMALL_NUMBER 64 /* up to here, other words of a descriptor can have the same value as an id */

/* `cleared` is the word that the kernel clears when the thread ends. In glibc before 2.43 it has the thread's id. In glibc 2.43 it has
 * a state, and in musl it is the lock of the list of threads; both have the id in another word. */
static int *address, *cleared;

/* Two threads: the id of each is at the same place of its descriptor. */
struct id_place {
    const int *descriptor;
    int id;
    int other; /* the second thread's id */
    size_t place;
};

static int own_id(void)
{
    return (int)syscall(SYS_gettid);
}

static void *compare(void *closure)
{
    struct id_place *other = closure;
    const int *descriptor = (const int *)pthread_self();
    int id = other->other = own_id();
    while (other->place < WORDS && (other->descriptor[other->place] != other->id || descriptor[other->place] != id))
        other->place++;
    return NULL;
}

/* Any of several words could be the id: a second thread has the answer. */
static size_t place_by_thread(const int *descriptor, int id)
{
    pthread_t thread;
    struct id_place pair = {.descriptor = descriptor, .id = id};
    if (pthread_create(&thread, NULL, compare, &pair) != 0)
        return WORDS;
    pthread_join(thread, NULL);
    /* It is counted until the kernel has taken it down, and a zygote may have only one. */
    while (syscall(SYS_tgkill, getpid(), pair.other, 0) == 0)
        sched_yield();
    return pair.place;
}

/* PR_GET_TID_ADDRESS needs a kernel with CONFIG_CHECKPOINT_RESTORE. */
void px_thread_id_find(void)
{
    int id = own_id(), *descriptor = (int *)pthread_self();
    size_t place = 0;
    while (place < WORDS && descriptor[place] != id)
        place++;
    bool told = prctl(PR_GET_TID_ADDRESS, &cleared, 0, 0, 0) == 0 && cleared && *cleared == id;
    bool sure = told ? cleared == &descriptor[place] : id > SMALL_NUMBER;
    if (!sure)
        place = place_by_thread(descriptor, id);
    address = place < WORDS ? &descriptor[place] : NULL;
}

int *px_thread_id_address(void)
{
    return address;
}

void px_thread_id_in_copy(void)
{
    if (cleared && cleared != address)
        syscall(SYS_set_tid_address, cleared);
}
