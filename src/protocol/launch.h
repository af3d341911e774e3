/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the host library, pyexec-launch (the outer process and the supervisor) and
 * the zygote. All of these are trusted peers; none of them ever reads a byte that a child
 * wrote. Sockets are SOCK_SEQPACKET, structs are native, one message is one struct.
 *
 *   fd 3 of pyexec-launch   the supervisor's socket; its end of file is everything's end
 *   fd 4 of pyexec-launch   the outer process's socket: start, and bind requests after it
 *   fd 3 of a zygote        its socket: start, and clone requests after it
 *   fd 4 of a zygote        the guest extension, to be loaded by descriptor and closed
 *   fd 5 of a zygote        the host's /proc, writable, as a mount of its own; closed when ready
 */
#ifndef PX_PROTOCOL_LAUNCH_H
#define PX_PROTOCOL_LAUNCH_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/layers.h"
#include "pyexec.h"

#define PX_LAUNCH_MAGIC 0x50580002u /* changes with any change of these structs */
#define PX_LAUNCH_SUPERVISOR_FD 3
#define PX_LAUNCH_OUTER_FD 4
#define PX_ZYGOTE_FD 3
#define PX_ZYGOTE_EXTENSION_FD 4
#define PX_ZYGOTE_PROC_FD 5
#define PX_PATH_MAX 4096
/* Exit statuses of a zygote that never became Python: + the layer that was refused to it. */
#define PX_ZYGOTE_EXIT_LAYER 200
/* The same, for want of something: + the errno, which px_errno_exhausted() knows. */
#define PX_ZYGOTE_EXIT_EXHAUSTED 64
/* The same, for another reason that is not the interpreter's. */
#define PX_ZYGOTE_EXIT_SETUP 125
/* The interpreter can't be executed; as a shell says it. */
#define PX_ZYGOTE_EXIT_PYTHON 126

/* host → outer, once, with a pidfd of the host: a process that the host forked may hold the
 * sockets open. Answered by px_launch_started. */
struct px_launch_start {
    uint32_t magic;
    px_layers allow_missing;
    /* Started as root: ids of the host to run as. The owner is that of the interpreter, whose
     * files the zygote must be able to read before it drops to run_uid. */
    uint32_t owner_uid, owner_gid;
    uint32_t run_uid, run_uid_count;
    uint32_t run_gid;
    char cgroup[PX_PATH_MAX]; /* auto, off or a path */
};

/* host ← outer, with the supervisor's pidfd and, with `cgroup`, the folder for the runs' own. */
struct px_launch_started {
    uint32_t magic;
    px_layers missing;     /* refused by this kernel or container */
    int32_t privileged;    /* started as root with CAP_SYS_ADMIN */
    int32_t cgroup;        /* runs go into cgroups */
    char cgroup_text[512]; /* of which folder, or why not */
    pyexec_error error;    /* code PYEXEC_OK when the supervisor runs */
};

/* host → outer: a detached, private mount of a host folder, for a run to work in. */
struct px_launch_bind {
    uint32_t magic;
    uint32_t read_only;
    uint64_t token;         /* comes back in the answer */
    uint64_t device, inode; /* what the host opened; the path must still lead there */
    char path[PX_PATH_MAX];
};

/* outer → host, with the mount's descriptor when error.code is PYEXEC_OK. */
struct px_launch_bound {
    uint32_t magic;
    uint64_t token;
    pyexec_error error;
};

/* host → supervisor, with the zygote's socket and a file for its standard error. */
struct px_launch_zygote {
    uint32_t magic;
    uint32_t token; /* comes back in the events */
    uint32_t isolate_site;
    uint32_t network;  /* stay in the host's network namespace */
    px_layers missing; /* refused to an earlier one, and allowed to be */
    char python[PX_PATH_MAX];
};

enum px_launch_event_type {
    PX_EVENT_ZYGOTE_STARTED = 1, /* token, pid, missing; with its pidfd */
    PX_EVENT_ZYGOTE_FAILED,      /* token, missing, error */
    PX_EVENT_EXIT,               /* pid and the facts of waitid(2) and getrusage(2) */
};

/* supervisor → host. */
struct px_launch_event {
    uint32_t magic;
    uint32_t type;
    uint32_t token;
    int32_t pid;    /* in the outer PID namespace */
    int32_t code;   /* CLD_EXITED, CLD_KILLED or CLD_DUMPED */
    int32_t status; /* exit status or signal */
    uint64_t user_us, system_us;
    uint64_t peak_bytes;
    uint32_t oom; /* enum px_oom; the host fills it in */
    px_layers missing;
    pyexec_error error;
};

/* host → zygote, once; followed by `preload_bytes` of module names, each NUL-terminated. */
#define PX_ZYGOTE_PRELOAD_MAX 16384
struct px_zygote_start {
    uint32_t magic;
    uint32_t isolate_site;
    uint32_t network;
    px_layers missing;
    px_layers allow_missing;
    uint32_t privileged;       /* started as root */
    uint32_t run_uid, run_gid; /* of the host, for use without a user namespace */
    uint32_t run_uid_count;
    uint32_t preload_bytes;
};

/* zygote → host, before each preload is imported, so that the host can name the one that hangs
 * or ends the process. */
struct px_zygote_loading {
    uint32_t magic;
    uint32_t index;
};

/* zygote → host, once. */
struct px_zygote_ready {
    uint32_t magic;
    px_layers missing;
    uint64_t mapped_bytes; /* address space in use, which every child inherits */
    int32_t landlock_abi;
    int32_t python_version; /* 0x030b02 for 3.11.2 */
    char python_text[96];   /* "3.11.2 (main, …)" */
    /* Paths outside the interpreter's own folders that scripts can import from, each NUL-terminated,
     * and how many more there are. */
    uint32_t importable_bytes, importable_more;
    char importable[4096];
    pyexec_error error; /* code PYEXEC_OK when ready */
};

enum px_clone_op {
    PX_CLONE_RUN = 1,             /* a child for a run */
    PX_CLONE_BASELINE,            /* bench: clone, exit at once */
    PX_CLONE_BASELINE_NAMESPACES, /* bench: the same with a run's namespaces */
    PX_CLONE_BASELINE_ECHO,       /* bench: a child that evaluates 1+1 per message */
};

/* The signals by which a terminal or a service manager ends programs. Only the host process acts on them. */
static inline void px_launch_end_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGHUP);
}

enum px_clone_workspace {
    PX_WORKSPACE_NONE,
    PX_WORKSPACE_NEW,   /* make a tmpfs of workspace_bytes; its mount is answered */
    PX_WORKSPACE_GIVEN, /* the descriptor after the first three is a detached mount */
};

/* host → zygote: channel, stdout, stderr and, if given, the workspace's mount and the cgroup. */
#define PX_WORKSPACE_PATH_MAX 1024
struct px_clone_request {
    uint32_t magic;
    uint32_t op;
    uint32_t workspace; /* enum px_clone_workspace */
    uint32_t workspace_write;
    uint32_t cgroup; /* the last descriptor is the folder to be born in */
    uint32_t warm;   /* run constant code first, to pay copy-on-write faults ahead */
    uint64_t workspace_bytes;
    uint64_t address_space_bytes, cpu_seconds, open_files, threads, file_bytes; /* UINT64_MAX: none */
    uint32_t slot;                                                              /* which of the run ids */
    uint32_t displays;                          /* runs show things: make that ready, after the answer */
    char workspace_path[PX_WORKSPACE_PATH_MAX]; /* absolute, in the sandbox */
};

/* zygote → host, with the child's pidfd and, if made, the workspace's mount. */
struct px_clone_reply {
    uint32_t magic;
    int32_t pid;         /* in the outer PID namespace */
    uint64_t elapsed_ns; /* of a floor */
    pyexec_error error;
};

#endif
