/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the family's process share. */
#ifndef PX_LAUNCH_FAMILY_PRIVATE_H
#define PX_LAUNCH_FAMILY_PRIVATE_H

#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/branches.h"

#define FAMILY_MEMBERS_MAX 4096
#define FAMILY_TEMPLATES_MAX 128

struct member {
    pid_t pid;
    int pidfd;
    uint64_t held; /* the question in which a checkpoint waits, or 0 */
};

/* A branch that only makes tests, one after another (launch/family_templates.c). */
struct template
{
    pid_t source;           /* its own number */
    int control;            /* orders and events about its tests */
    uint64_t next;          /* the question of its next clone, in which it waits; 0: it has not asked yet */
    bool ordered;           /* a test has been ordered and has not been let run */
    bool cloned;            /* its clone was let pass */
    bool told;              /* the host knows that the test has arrived */
    pid_t test;             /* the last test that has arrived, or 0 */
    int pidfd;              /* of that test, or -1 */
    uint64_t held;          /* the question in which that test waits, or 0 */
    int fds[PX_BRANCH_FDS]; /* what the next test gets */
};

struct family {
    int control, handover, listener;
    struct member *members;
    size_t count, full; /* when there are `full`, those that have ended are forgotten */
    /* The fork that the host has asked for. */
    pid_t source;           /* 0: none */
    bool checkpoint;        /* it is to clone a checkpoint, not a branch */
    bool cloned, returned;  /* the clone was let pass; its caller has come back from it */
    bool arrived, went;     /* the new process has reported itself; it was held until it was let run */
    pid_t new;              /* the process that has reported itself */
    uint64_t held;          /* the question in which it waits, or 0 */
    int fds[PX_BRANCH_FDS]; /* what the branch gets */
    struct template *templates;
    size_t template_count;
};

/* True if the thread belongs to the process. The process may have another user id. */
bool px_family_is_thread_of(pid_t process, pid_t thread);
/* True if this is the number of a process of the family that is known and lives. Its further threads have other numbers. */
bool px_family_is_member(const struct family *family, pid_t pid);
bool px_family_has_ended(int pidfd);

/* Returns true if the kernel took the answer: the caller still waited. */
bool px_family_answer(const struct family *family, uint64_t id, bool pass, int error);

/* Gives the process that waits in this question its descriptors, at numbers 0 to 3, where they replace those of its source. */
bool px_family_give(const struct family *family, uint64_t id, const int fds[PX_BRANCH_FDS]);

/* ---- family_templates.c ---- */

void px_family_add_template(struct family *family, pid_t pid, int control);

/* True if this is the number of a test that has arrived and lives. */
bool px_family_is_test(const struct family *family, pid_t pid);

/* Returns false if the question is not about a template and its tests. */
bool px_family_take_of_template(struct family *family, const struct seccomp_notif *question);

/* Fills one entry for each template, and returns their number. */
size_t px_family_poll_templates(const struct family *family, struct pollfd *polled);
void px_family_serve_templates(struct family *family, const struct pollfd *polled, size_t count);

#endif
