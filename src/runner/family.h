/* SPDX-License-Identifier: Apache-2.0 */
/* A family: a session that can be forked, and its branches. They share a PID namespace, whose PID 1 is a process of its
 * own (launch/family_process.c), and the filter's listener, which that process serves. Thread-safe. */
#ifndef PX_RUNNER_FAMILY_H
#define PX_RUNNER_FAMILY_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "runner/launcher.h"

/* The user namespace of a branch is inside that of its source, and they nest 32 deep (user_namespaces(7)): two or three
 * are used above the first. */
#define PX_FAMILY_DEPTH_MAX 28

struct px_family {
    struct px_launcher *launcher;
    int control, pidfd;     /* of its process */
    dev_t namespace_device; /* of its PID namespace, as /proc/PID/ns/pid shows it */
    ino_t namespace_inode;
    pid_t pid;                 /* in the supervisor's PID namespace */
    pthread_mutex_t fork_lock; /* one fork at a time */
    pthread_mutex_t lock;      /* protects the members */
    pthread_rwlock_t births;   /* held for reading while a process exists that is not a member yet */
    pthread_mutex_t gate;      /* held by those who wait for births */
    struct px_family_member *members;
};

struct px_family_member {
    struct px_family *family;
    struct px_family_member *next;
    struct px_family_member *source; /* the member from which it was forked; that one's own source when it has ended */
    pid_t pid;                       /* in the family's PID namespace; 0: not known yet */
    pid_t host_pid;                  /* in the host's; 0: not known yet */
    int pidfd;                       /* or -1 */
    int depth;
    bool checkpoint;      /* it is one, and runs nothing */
    bool forking;         /* its limit of threads stays high: it is being forked */
    bool mapped;          /* its user namespace has an id map */
    uint64_t threads;     /* the policy's limit, with the main thread; UINT64_MAX: none */
    uint64_t branches;    /* that live, and those below them */
    uint64_t checkpoints; /* of this member and of all branches below it */
};

/* Starts a family, with its first member, whose process does not exist yet. ret_fds are for who clones that process: the
 * family's PID namespace, and the socket on which the process sends its listener. */
int px_family_found(struct px_launcher *launcher, uint64_t threads, struct px_family_member **ret, int ret_fds[2],
                    pyexec_error *error);

/* Adds a branch or a checkpoint of `source`, which has just been cloned. NULL without memory. */
struct px_family_member *px_family_join(struct px_family_member *source, bool checkpoint);

/* The checkpoint takes the place of its source, whose process has been killed: the source's branches and other checkpoints are
 * now those of the checkpoint. */
void px_family_replace(struct px_family_member *source, struct px_family_member *checkpoint);

/* Adds a member that stands for all tests of a template, of which one lives at a time. It counts as a checkpoint does. px_family_set_test()
 * says which process it is now. NULL without memory. */
struct px_family_member *px_family_join_tests(struct px_family_member *template);
void px_family_set_test(struct px_family_member *tests, pid_t pid, pid_t host_pid);

/* Around the time in which a process exists that is not a member yet. */
void px_family_begin_birth(struct px_family *family);
/* Around a time in which there is none. Who waits for it comes before new births. */
void px_family_hold_births(struct px_family *family);
/* Ends either time. */
void px_family_end_births(struct px_family *family);

/* Sets what is known about the member's process once it exists. */
int px_family_know(struct px_family_member *member, pid_t pid, pid_t host_pid, int pidfd, pyexec_error *error);

/* Called when the member's process has been killed. After the last one, the family ends. Sets it to NULL; NULL is allowed. */
void px_family_leave(struct px_family_member **member);

/* The kernel counts the branches of a process, and theirs, as its threads, and all their checkpoints. So the limit of a process
 * grows with their number. While it is forked its limit is as high as it can be: the kernel keeps that value for the branch. */
void px_family_limit_threads(struct px_family_member *member, bool forking);

#endif
