/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of pyexec-launch: starts it, asks it for zygotes and bind mounts, and collects the exits that
 * the supervisor reports. One thread per launcher reads these reports. All functions except new and free are
 * thread-safe. The host program sees one child (the outer process), which ends only with the launcher. Other code
 * of the host program may take its exit status. */
#ifndef PX_RUNNER_LAUNCHER_H
#define PX_RUNNER_LAUNCHER_H

#include <stdbool.h>

#include "protocol/launch.h"

struct px_launcher;

struct px_launcher_options {
    px_layers allow_missing;
    uint32_t owner_uid, owner_gid; /* owner of the interpreter; used when root started pyexec */
    uint32_t run_uid, run_uid_count, run_gid;
    const char *cgroup; /* auto, off or a path */
};

/* Returns 0, or -1 with PYEXEC_SANDBOX_UNAVAILABLE or PYEXEC_INTERNAL. */
int px_launcher_new(const struct px_launcher_options *options, struct px_launcher **ret, pyexec_error *error);

/* Ends all processes below it and waits until they are gone. */
void px_launcher_free(struct px_launcher *launcher);

/* Starts to end all processes below it, and does not wait. */
void px_launcher_stop(struct px_launcher *launcher);

bool px_launcher_dead(struct px_launcher *launcher);
bool px_launcher_privileged(const struct px_launcher *launcher);
px_layers px_launcher_missing(struct px_launcher *launcher);

/* True if runs get cgroups; *ret_text is the folder for them, or why there is none. */
bool px_launcher_cgroup(const struct px_launcher *launcher, const char **ret_text);

/* Makes a cgroup for the next child. Returns its descriptor and number. Without cgroups returns -1 and
 * *ret_number is 0; -1 with another number means that it can't be made. */
int px_launcher_make_run_cgroup(struct px_launcher *launcher, const struct px_clone_request *shape,
                                uint64_t *ret_number, pyexec_error *error);
/* The cgroup is removed when its child ends. With pid 0 it is removed at once, because no child was started in it. */
void px_launcher_release_run_cgroup(struct px_launcher *launcher, pid_t pid, uint64_t number);

struct px_launched_zygote {
    int socket; /* the host's end of the socket */
    int pidfd;
    int log; /* a file that gets its standard error until it is ready */
    pid_t pid;
    px_layers missing;
};

/* Starts a zygote process, without the layers that an earlier one could not get. The caller still owns the
 * descriptors. */
int px_launcher_start_zygote(struct px_launcher *launcher, const char *python, bool isolate_site,
                             enum px_network network, px_layers without, struct px_launched_zygote *ret,
                             pyexec_error *error);

/* Sends a request to the supervisor with descriptors, which the caller still owns, and waits for its answer. *ret_pidfd is
 * set only when the answer brings one. Returns 0 also when the answer is an error. */
int px_launcher_ask(struct px_launcher *launcher, struct px_launch_zygote *request, const int *fds, size_t count,
                    struct px_launch_event *ret, int *ret_pidfd, pyexec_error *error);

/* Makes a mount of an open folder of the host, which is not attached anywhere. Returns its descriptor, or -1. */
int px_launcher_bind(struct px_launcher *launcher, const char *path, int folder, bool read_only, pyexec_error *error);

/* The exit of a process below the supervisor. Each child must either be awaited or forgotten, and only once.
 * await: waits, and returns 0 with the facts, or -1 when the supervisor is gone or `timeout_ms` is over. */
int px_launcher_await_exit(struct px_launcher *launcher, pid_t pid, int timeout_ms, struct px_launch_event *ret);
void px_launcher_forget(struct px_launcher *launcher, pid_t pid);

/* Forgets a child that was killed, and takes ownership of its descriptors. The thread that reads the exits closes
 * them when the child has ended, so the caller does not wait for it, nor for the kernel to take down its workspace.
 * Each is set to -1. `pidfd` may be one of them. */
void px_launcher_bury(struct px_launcher *launcher, pid_t pid, int pidfd, int *fds, size_t count);

/* Finds the folder of pyexec-launch and the guest extension: $PYEXEC_LIBEXECDIR, the folder of this library,
 * ../libexec/pyexec from there, or the configured folder of the installation. */
int px_launcher_find_program(const char *name, char *path, size_t size, pyexec_error *error);

#endif
