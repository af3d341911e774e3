/* SPDX-License-Identifier: Apache-2.0 */
/* The zygote is the interpreter that only forks. These are the parts of the guest's life cycle. */
#ifndef PX_GUEST_ZYGOTE_H
#define PX_GUEST_ZYGOTE_H

#include "guest/python.h"
#include "protocol/launch.h"
#include "sandbox/root.h"

struct px_paths {
    char **items; /* with NULL at the end; NULL when empty */
    size_t count;
};

struct px_zygote {
    struct px_zygote_start start;
    struct px_zygote_ready ready;
    int host;              /* socket to the host; closed in each child */
    int pid_namespace;     /* its own, to which it returns when it was in that of a family; or -1 */
    int network_namespace; /* its own, to which it returns when it was in that of a child; or -1 */
    int certificates[2]; /* the contents of PX_CA_FILE and PX_CA_FILE_SECRETS, or -1; closed when the zygote is ready */
    int proc;            /* the host's /proc, as a separate mount; closed when the zygote is ready */
    px_layers missing;
    unsigned run_uid; /* user id of the next child, in the zygote's user namespace */
    int landlock_abi;
    char **trees; /* folders of the interpreter and of libraries, with NULL at the end; see guard.h */
    size_t stdlib_count;
    struct px_paths readable; /* only without a mount namespace: the paths that Landlock allows to read */
};

static inline bool px_zygote_lacks(const struct px_zygote *zygote, enum px_layer layer)
{
    return zygote->missing & PX_LAYER_BIT(layer);
}

/* Serves until the host closes the socket, then exits. The bootstrap calls it and holds the GIL. */
void px_zygote_main(void) __attribute__((noreturn));

/* Finds the files of the host that the interpreter needs. Adds them to the root, and fills `trees`, `readable` and
 * the importable part of `ready`. Called after the preloads. Returns 0, or -1 with `error` set.
 * (guest/library_dirs.c) */
int px_library_dirs_collect(struct px_zygote *zygote, struct px_root *root, pyexec_error *error);

/* Makes the entries of /proc that a run sees, in an empty folder. Returns 0, or -1 with errno.
 * (guest/library_dirs.c) */
int px_library_dirs_show_program(const struct px_zygote *zygote, int folder);

/* Clones one child; in the child this never returns. `fds` are the channel, stdout, stderr, the workspace's mount,
 * the cgroup, and the family's PID namespace and the handover socket; the last four -1 when there is none. The caller still owns them. Returns 0, or -1 with `error`
 * set. (guest/child_setup.c) */
int px_child_clone(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds, int *ret_pidfd,
                   pid_t *ret_pid, pyexec_error *error);

/* Measures a baseline for `pyexec bench`. Returns 0, or -1 with the error in the reply. (guest/baseline.c) */
int px_baseline_run(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds,
                    struct px_clone_reply *reply);

/* Returns the namespace flags of a child's clone. */
uint64_t px_child_namespaces(const struct px_zygote *zygote);

#endif
