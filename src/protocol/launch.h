/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the host library, pyexec-launch (the outer process and the supervisor) and the zygote. All of
 * these trust each other, and none of them reads a byte that a child wrote. The sockets are SOCK_SEQPACKET; each
 * message is one struct in native byte order.
 *
 *   fd 3 of pyexec-launch   the supervisor's socket; when the host closes it, all processes end
 *   fd 4 of pyexec-launch   the outer process's socket: first start, then bind requests
 *   fd 3 of a zygote        its socket: first start, then clone requests
 *   fd 4 of a zygote        the guest extension: loaded by this descriptor, then closed
 *   fd 5 of a zygote        the host's /proc, writable, as a separate mount; closed when ready */
#ifndef PX_PROTOCOL_LAUNCH_H
#define PX_PROTOCOL_LAUNCH_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/layers.h"
#include "pyexec.h"

#define PX_LAUNCH_MAGIC 0x5058000au /* change it whenever one of these structs changes */
#define PX_LAUNCH_SUPERVISOR_FD 3
#define PX_LAUNCH_OUTER_FD 4
#define PX_ZYGOTE_FD 3
#define PX_ZYGOTE_EXTENSION_FD 4
#define PX_ZYGOTE_PROC_FD 5
#define PX_PATH_MAX 4096
/* Where runs with allowed_hosts find the certificates of authorities. */
#define PX_CA_FOLDER "/etc/ssl/certs"
#define PX_CA_FILE PX_CA_FOLDER "/ca-certificates.crt"
/* The same, and the authority of the proxy: for runs with secrets. */
#define PX_CA_FILE_SECRETS PX_CA_FOLDER "/ca-certificates-with-proxy.crt"
/* The interpreter runs, and pyexec can't use it. Its log says what it is. */
#define PX_ZYGOTE_EXIT_UNSUPPORTED 124
/* Exit statuses of a zygote that ended before it became Python. This plus a layer: that layer was refused. */
#define PX_ZYGOTE_EXIT_LAYER 200
/* This plus an errno that px_errno_exhausted() knows: the machine has no more processes, memory or descriptors. */
#define PX_ZYGOTE_EXIT_EXHAUSTED 64
/* Another failure, of which the interpreter is not the reason. */
#define PX_ZYGOTE_EXIT_SETUP 125
/* The interpreter can't be executed. A shell uses the same number for this. */
#define PX_ZYGOTE_EXIT_PYTHON 126

/* host → outer, once, with a pidfd of the host: the supervisor ends when this pidfd says that the host has ended,
 * because other processes that the host forked may hold the sockets open. Answered by px_launch_started. */
struct px_launch_start {
    uint32_t magic;
    px_layers allow_missing;
    /* Ids of the host that are used when pyexec was started as root. The owner is the owner of the interpreter:
     * the zygote must be able to read its files before it changes to run_uid. */
    uint32_t owner_uid, owner_gid;
    uint32_t run_uid, run_uid_count;
    uint32_t run_gid;
    char cgroup[PX_PATH_MAX]; /* auto, off or a path */
};

/* outer → host, with the supervisor's pidfd and, when `cgroup` is set, a descriptor of the folder for the runs'
 * cgroups. */
struct px_launch_started {
    uint32_t magic;
    px_layers missing;     /* layers that this kernel or container refused */
    int32_t privileged;    /* started as root with CAP_SYS_ADMIN */
    int32_t cgroup;        /* true: runs get cgroups */
    char cgroup_text[512]; /* the path of their folder, or why there is none */
    pyexec_error error;    /* code PYEXEC_OK when the supervisor runs */
};

/* host → outer: asks for a detached, private mount of a folder of the host, which a run works in. */
struct px_launch_bind {
    uint32_t magic;
    uint32_t read_only;
    uint64_t token;         /* the reply has the same token */
    uint64_t device, inode; /* those of the folder that the host opened; the path must still lead to it */
    char path[PX_PATH_MAX];
};

/* outer → host, with the mount's descriptor when error.code is PYEXEC_OK. */
struct px_launch_bound {
    uint32_t magic;
    uint64_t token;
    pyexec_error error;
};

enum px_launch_op {
    PX_LAUNCH_ZYGOTE, /* with the zygote's socket and a file for its standard error */
    PX_LAUNCH_FAMILY, /* with the control socket and the handover socket of a family (launch/family_process.h) */
    /* With the pidfd of a process and, if `path` is not empty, a mount to attach there. If that is of a folder of the host, the
     * pidfd of the process's source follows. */
    PX_LAUNCH_PLACE,
    /* With the pidfd of a template and a socket. The process that does it stays, and serves struct px_launch_swap on the socket. */
    PX_LAUNCH_SWAP,
};

/* host → the process of PX_LAUNCH_SWAP, which answers with an errno (int32_t): takes away the mount that it has attached at
 * `path` last and, if `attach`, attaches the mount that comes with this. */
struct px_launch_swap {
    uint32_t magic;
    uint32_t attach;
};

/* The network of a kind of zygotes, and so of their children. */
enum px_network {
    PX_NETWORK_NONE,
    PX_NETWORK_HOST,  /* disable_networking false: the host's network namespace */
    PX_NETWORK_NAMES, /* allowed_hosts: a network namespace for each child, in which only the proxy listens */
};

/* The C library of an interpreter. A guest extension is built for one of them, and has its name by that. */
enum px_libc { PX_LIBC_GLIBC, PX_LIBC_MUSL, PX_LIBC_COUNT };
#define PX_LIBC_NAMES \
    { \
        "glibc", "musl" \
    }
#define PX_LIBC_GUESTS \
    { \
        "pyexec_guest.abi3.so", "pyexec_guest_musl.abi3.so" \
    }

/* host → supervisor. */
struct px_launch_zygote {
    uint32_t magic;
    uint32_t token; /* the events have the same token */
    uint32_t op;    /* enum px_launch_op */
    uint32_t isolate_site;
    uint32_t network;  /* enum px_network */
    uint32_t libc;     /* enum px_libc */
    px_layers missing; /* layers that were refused to an earlier zygote and may be missing */
    /* PX_LAUNCH_PLACE, PX_LAUNCH_SWAP */
    int32_t host_pid;   /* the process in the host's PID namespace */
    uint32_t map_ids;   /* write its id maps, so that it can make user namespaces */
    uint32_t read_only; /* attach the mount read-only */
    union {
        char python[PX_PATH_MAX];
        char path[PX_PATH_MAX];
    };
};

enum px_launch_event_type {
    PX_EVENT_ZYGOTE_STARTED = 1, /* token, pid, missing; with its pidfd */
    PX_EVENT_ZYGOTE_FAILED,      /* token, missing, error */
    PX_EVENT_EXIT,               /* pid and the results of waitid(2) and getrusage(2) */
    PX_EVENT_FAMILY_STARTED,     /* token, pid; with its pidfd */
    PX_EVENT_PLACED,             /* token, pid of the process that did it, error */
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
    uint32_t oom; /* enum px_oom; the host sets it */
    px_layers missing;
    pyexec_error error;
};

/* host → zygote, once; with PX_NETWORK_NAMES with memory files of the certificates for PX_CA_FILE and, if there are secrets, PX_CA_FILE_SECRETS. `preload_bytes` of module names follow in a second message, each with a NUL at the end. */
#define PX_ZYGOTE_PRELOAD_MAX 16384
struct px_zygote_start {
    uint32_t magic;
    uint32_t isolate_site;
    uint32_t network; /* enum px_network */
    px_layers missing;
    px_layers allow_missing;
    uint32_t privileged;       /* started as root */
    uint32_t run_uid, run_gid; /* ids of the host; used when there is no user namespace */
    uint32_t run_uid_count;
    uint32_t huge_on_advice; /* true: the machine gives huge pages only to memory that asks for them */
    uint32_t preload_bytes;
};

/* zygote → host, before each preload is imported. So the host can name the module that hangs or ends the process. */
struct px_zygote_loading {
    uint32_t magic;
    uint32_t index;
};

/* zygote → host, once. */
struct px_zygote_ready {
    uint32_t magic;
    px_layers missing;
    uint64_t mapped_bytes;  /* address space in use, which every child inherits */
    uint64_t private_bytes; /* memory in use that is not a file's */
    int32_t landlock_abi;
    int32_t python_version; /* 0x030b02 for 3.11.2 */
    char python_text[96];   /* "3.11.2 (main, …)" */
    /* Paths outside the interpreter's own folders from which scripts can import, each with a NUL at the end, and
     * how many more paths did not fit. */
    uint32_t importable_bytes, importable_more;
    char importable[4096];
    pyexec_error error; /* code PYEXEC_OK when ready */
};

enum px_clone_op {
    PX_CLONE_RUN = 1,             /* a child for a run */
    PX_CLONE_WORKSPACE,           /* no child, only a new workspace */
    PX_CLONE_BASELINE,            /* bench: a process that is cloned and exits at once */
    PX_CLONE_BASELINE_NAMESPACES, /* bench: the same with a run's namespaces */
    PX_CLONE_BASELINE_ECHO,       /* bench: a child that evaluates 1+1 for each message */
};

/* Returns the signals with which a terminal or a service manager ends programs. Only the host process reacts to
 * them. */
static inline void px_launch_end_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGHUP);
}

/* host → the family's process. */
enum px_family_op {
    PX_FAMILY_FORK = 1, /* let `pid` clone one branch or checkpoint; with its stdin, stdout, stderr and channel */
    PX_FAMILY_GO,       /* let the branch that has arrived run, or the checkpoint `pid`; answered by PX_FAMILY_WENT */
    PX_FAMILY_KEEP,     /* the one that has arrived is a checkpoint: it stays held, and the fork is over */
    PX_FAMILY_STOP,     /* let no branch be cloned or arrive any more; answered by PX_FAMILY_STOPPED */
    PX_FAMILY_TEMPLATE, /* the branch `pid` is now a template; with the socket for what concerns its tests: on that one
                         * PX_FAMILY_FORK lets it clone a test and PX_FAMILY_GO lets the test run, with the same answers */
};
struct px_family_order {
    uint32_t magic;
    uint32_t op;
    int32_t pid;         /* in the family's PID namespace */
    uint32_t checkpoint; /* of PX_FAMILY_FORK: true: let it clone a checkpoint, false: a branch */
};

/* the family's process → host. */
enum px_family_event_type {
    PX_FAMILY_STARTED = 1, /* with a descriptor of the family's PID namespace */
    PX_FAMILY_READY,       /* it answers the questions of the process `pid`, the first of the family */
    PX_FAMILY_ARRIVED,     /* the branch `pid`; with its pidfd. It waits for PX_FAMILY_GO */
    PX_FAMILY_WENT,        /* `went`: the kernel held the branch until now */
    PX_FAMILY_STOPPED,     /* `cloned`: a clone was let pass since PX_FAMILY_FORK. `returned`: it is over */
};
struct px_family_event {
    uint32_t magic;
    uint32_t type;
    int32_t pid;
    uint32_t cloned, returned, went;
};

enum px_clone_workspace {
    PX_WORKSPACE_NONE,
    PX_WORKSPACE_NEW,   /* make a tmpfs of workspace_bytes; the reply brings its mount */
    PX_WORKSPACE_GIVEN, /* the descriptor after the first three is a detached mount */
};

/* host → zygote, with the channel, stdout, stderr and, if given, the workspace's mount and the cgroup. */
#define PX_WORKSPACE_PATH_MAX 1024
struct px_clone_request {
    uint32_t magic;
    uint32_t op;
    uint32_t workspace; /* enum px_clone_workspace */
    uint32_t workspace_write;
    uint32_t cgroup;   /* true: the last descriptor is the cgroup that the child starts in */
    uint32_t forkable; /* true: the descriptors before that are the family's PID namespace and the handover socket */
    uint32_t warm;     /* run constant code first, so that the copy-on-write faults happen before a request comes */
    uint64_t workspace_bytes;
/* The resource limits of the child; UINT64_MAX: no limit. */
#define PX_RLIMIT(resource, member, value) uint64_t member;
#include "base/rlimits.def"
    uint32_t slot;     /* index of the user id */
    uint32_t displays; /* runs may have displays: the zygote prepares for them after its reply */
    char workspace_path[PX_WORKSPACE_PATH_MAX]; /* absolute, in the sandbox */
};

#define PX_CLONE_FDS 3 /* the most descriptors of a reply */
/* zygote → host, with the child's pidfd, the workspace's mount if one was made, and with PX_NETWORK_NAMES the listener for the proxy in
 * the child's network namespace. */
struct px_clone_reply {
    uint32_t magic;
    int32_t pid;         /* in the outer PID namespace */
    uint64_t elapsed_ns; /* the time that a baseline took */
    pyexec_error error;
};

#endif
