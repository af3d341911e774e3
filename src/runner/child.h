/* SPDX-License-Identifier: Apache-2.0 */
/* A child as the host sees it: its descriptors, and what the kernel says about it. */
#ifndef PX_RUNNER_CHILD_H
#define PX_RUNNER_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/buffer.h"
#include "policy/request.h"
#include "runner/zygotes.h"

#define PX_SETUP_TIMEOUT_MS 10000 /* until a process has locked its sandbox */

struct px_family_member;
struct px_proxy_run;

struct px_child {
    struct px_launcher *launcher;
    int channel;    /* SOCK_SEQPACKET, non-blocking */
    int streams[2]; /* the ends of stdout and stderr to read from, non-blocking; -1 after the end */
    int input;      /* the socket for stdin, if it is fed from a descriptor; else -1 */
    int pidfd;
    int status;                      /* its /proc/PID/status, or -1 if it was not opened ahead */
    int workspace;                   /* the workspace, or -1 */
    int listener;                    /* with allowed_hosts: where its requests to the proxy arrive; else -1 */
    struct px_proxy_run *proxy_run;  /* with allowed_hosts, once the proxy knows it; else NULL */
    pid_t pid;                       /* its number in the supervisor's PID namespace */
    pid_t host_pid;                  /* its number in this process's PID namespace, or 0 when it can't be seen */
    clockid_t cpu_clock;             /* the CPU clock of host_pid */
    struct px_family_member *member; /* of its family, if it can be forked; or NULL */
    bool ended;                      /* somebody has waited for its exit, or forgotten it */
    bool stopped;                    /* for a session: a signal was sent that the next call must not see */
};

/* What a call of a session does, or of a branch that lives for one test (docs/verify.md). */
enum px_call_kind {
    PX_CALL_CODE,     /* runs the request's code */
    PX_CALL_SOLUTION, /* the same, and prepares calls of functions */
    PX_CALL_COMPILE,  /* compiles the code, and keeps it */
    PX_CALL_COMPILED, /* runs what was kept, as a single run */
    PX_CALL_FUNCTION, /* calls a function of the solution */
    PX_CALL_TEST,     /* runs code, and tells whether it has run to its end */
};

/* The settings of a child for one run. */
struct px_child_options {
    const struct px_policy *policy;
    const pyexec_request *request;
    const char *workspace_path;       /* where the script sees it */
    const char *filename;             /* "<cell>", "<cell 3>" */
    const struct px_tool_list *tools; /* or NULL */
    bool session;                     /* a call of a session */
    enum px_call_kind kind;           /* what the call does */
    bool later;                       /* not the first run: the child knows the policy's imports */
    bool drop_stop;                   /* the value of px_child.stopped after the previous call */
};

/* The values that must be known before the clone. If two runs have the same shape, a waiting child can serve either.
 * Padding bytes are zero, so that memcmp() can compare shapes. */
void px_child_shape(struct px_clone_request *shape, const struct px_child_options *options);

/* The request's host folder: its descriptor and a mount of it. 0, or -1 with an error. */
int px_child_open_workspace(struct px_launcher *launcher, const struct px_child_options *options, int *ret_folder,
                            int *ret_mount, pyexec_error *error);

/* Makes the descriptors and lets a zygote clone a child of this shape. `mount` (-1: none) is the mount of a
 * host folder and `folder` the folder; the child takes ownership of both. Returns 0 or -1; call px_child_done
 * in both cases. */
int px_child_start(struct px_child *child, struct px_launcher *launcher, struct px_zygotes *zygotes,
                   const struct px_clone_request *shape, int mount, int folder, pyexec_error *error);

/* The host's and the child's ends of a new child's descriptors. */
struct px_child_ends {
    int channel, output, error_output;
};
void px_child_close_ends(struct px_child_ends *ends);

/* Makes a child that has no process yet, with its descriptors. Call px_child_done() in both cases. */
int px_child_prepare(struct px_child *child, struct px_launcher *launcher, int workspace,
                     struct px_child_ends *ret_ends, pyexec_error *error);

/* Takes ownership of the process's pidfd, and finds out what the host must know. `pid`: its number in the supervisor's PID
 * namespace; 0: find that out too, of a process that is one PID namespace below. */
int px_child_adopt(struct px_child *child, int pidfd, pid_t pid, pyexec_error *error);

/* Opens what px_child_facts() reads, while the child sets itself up. Without it the facts are found by the PID. For
 * single runs: thousands of sessions would need as many descriptors more. */
void px_child_open_facts(struct px_child *child);

/* Kills it if it still runs. What is open is closed when it has ended, by the launcher's thread. */
void px_child_done(struct px_child *child);

/* Kills it and waits until it executes nothing more: afterwards it writes nothing. `only_threads`: the sandbox let it
 * start threads but no other process. Then this need not wait until the kernel has taken down its namespaces. */
void px_child_kill(const struct px_child *child, bool only_threads);

void px_child_signal(const struct px_child *child, int signal);

/* Lets the child's files grow as the policy allows, or not at all. The child can lift this limit itself. */
void px_child_let_files_grow(const struct px_child *child, bool grow);

/* CPU time used so far in nanoseconds, or -1 when it can't be read. */
int64_t px_child_cpu_ns(const struct px_child *child);

/* Opens smaps_rollup of its process (proc_pid_smaps(5)), which another thread may read at any time. Returns a descriptor or
 * -1. */
int px_child_open_memory(const struct px_child *child);

/* Facts about a living child, since its script began: cpu_before_ns is the CPU time that it had used before. Returns
 * false when the child has ended or its /proc can't be read. */
struct px_child_facts {
    int64_t cpu_ns;
    uint64_t peak_bytes; /* resident */
    unsigned threads;    /* now */
};
bool px_child_facts(const struct px_child *child, int64_t cpu_before_ns, struct px_child_facts *ret);

/* Puts the request's files into the workspace. */
int px_child_put_files(const struct px_child *child, const pyexec_request *request, pyexec_error *error);

/* Reads and drops what its streams and its channel hold. Limited, because threads may write as fast as this
 * reads. */
void px_child_discard_output(const struct px_child *child);

/* Returns true if it still runs. */
bool px_child_alive(const struct px_child *child);

/* Reads LOCKED, if the child has sent it. Returns false, and leaves what came unread, if not. */
struct px_locked {
    int64_t cpu_ns;  /* CPU time that it had used */
    int64_t real_ns; /* when it was locked */
};
bool px_child_read_locked(const struct px_child *child, struct px_locked *ret);

/* Waits until the process of a session has locked its sandbox, before its first call. */
int px_child_await_locked(const struct px_child *child, int timeout_ms, pyexec_error *error);

#endif
