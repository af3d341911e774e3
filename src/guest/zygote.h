/* SPDX-License-Identifier: Apache-2.0 */
/* The zygote: the interpreter that only forks. The parts of the guest's life cycle. */
#ifndef PX_GUEST_ZYGOTE_H
#define PX_GUEST_ZYGOTE_H

#include "guest/python.h"
#include "protocol/launch.h"
#include "sandbox/root.h"

struct px_paths {
    char **items; /* NULL-terminated, or NULL */
    size_t count;
};

struct px_zygote {
    struct px_zygote_start start;
    struct px_zygote_ready ready;
    int host; /* socket; a child never has it */
    int proc; /* the host's /proc, as a mount of its own; closed when ready */
    px_layers missing;
    unsigned run_uid; /* of the next child, as the zygote's user namespace numbers it */
    int landlock_abi;
    char **trees; /* interpreter and library folders, NULL-terminated; see guard.h */
    size_t stdlib_count;
    struct px_paths readable; /* without a mount namespace: what Landlock lets be read */
};

static inline bool px_zygote_lacks(const struct px_zygote *zygote, enum px_layer layer)
{
    return zygote->missing & PX_LAYER_BIT(layer);
}

/* Serves until the host goes, then exits. Called by the bootstrap, with the GIL. */
void px_zygote_main(void) __attribute__((noreturn));

/* Which files of the host the interpreter needs: adds them to the root, and fills trees, readable and
 * the importable part of `ready`.
 * Call after the preloads. 0, or -1. (guest/library_dirs.c) */
int px_library_dirs_collect(struct px_zygote *zygote, struct px_root *root, pyexec_error *error);

/* Makes in the folder, an empty /proc, what a run finds there. 0, or -1 with errno. (guest/library_dirs.c) */
int px_library_dirs_show_program(const struct px_zygote *zygote, int folder);

/* Clones one child and, in it, never returns. fds: channel, stdout, stderr and perhaps
 * the workspace's mount; they stay the caller's. (guest/child_setup.c) */
int px_child_clone(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds, int *ret_pidfd,
                   pid_t *ret_pid, pyexec_error *error);

/* Bench floors. (guest/baseline.c) */
int px_baseline_run(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds,
                    struct px_clone_reply *reply);

/* Namespace flags of a child. */
uint64_t px_child_namespaces(const struct px_zygote *zygote);

#endif
