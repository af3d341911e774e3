/* SPDX-License-Identifier: Apache-2.0 */
/* The zygotes of one kind: same interpreter, preloads, site and network. Starts them when
 * needed, replaces those that are dead or have cloned many, and hands clone requests to one that
 * is free. Thread-safe. */
#ifndef PX_RUNNER_ZYGOTES_H
#define PX_RUNNER_ZYGOTES_H

#include <stdbool.h>

#include "policy/policy.h"
#include "runner/counters.h"
#include "runner/launcher.h"

struct px_zygotes;

/* Takes from the policy what makes the kind. Starts nothing. Counts in `counters`. `certificates`: two memory files of the
 * authorities that runs with allowed_hosts trust (ca_bundle.h), the second for runs with secrets, which live longer; or NULL. */
int px_zygotes_new(struct px_launcher *launcher, const struct px_policy *policy, const char *python, size_t wanted,
                   px_layers allow_missing, const struct px_launcher_options *ids, const int *certificates,
                   struct px_counters *counters, struct px_zygotes **ret, pyexec_error *error);
/* Starts the first zygote. The folder of an environment is locked before, and until px_zygotes_free(). */
int px_zygotes_start(struct px_zygotes *zygotes, pyexec_error *error);
/* No other call may be in progress. */
void px_zygotes_free(struct px_zygotes *zygotes);

/* True if they can serve this policy. */
bool px_zygotes_match(const struct px_zygotes *zygotes, const struct px_policy *policy);

/* True if their children have a network by name (allowed_hosts). */
bool px_zygotes_by_name(const struct px_zygotes *zygotes);

/* The environment, or NULL. */
const struct px_environment *px_zygotes_environment(const struct px_zygotes *zygotes);

/* The interpreter's path. */
const char *px_zygotes_python(const struct px_zygotes *zygotes);

/* The memory of its zygotes that they share with no other process (RssAnon in proc(5)), as each reported it when it was ready. */
uint64_t px_zygotes_memory(const struct px_zygotes *zygotes);

/* The facts about the first zygote. px_zygotes_start() must have succeeded. */
const struct px_zygote_ready *px_zygotes_ready(const struct px_zygotes *zygotes);

/* The counters that it uses. */
struct px_counters *px_zygotes_counters(const struct px_zygotes *zygotes);

/* The layers that this kind lacks, those of the launcher included. */
px_layers px_zygotes_missing(const struct px_zygotes *zygotes);

/* Called when runs of this kind show displays, return values or have tools: what this needs is then prepared in the
 * zygotes, so that no run has to. Other kinds do not pay for it: the more memory a zygote has, the more its
 * children copy. */
void px_zygotes_expect_displays(struct px_zygotes *zygotes);

/* The descriptors of a child; -1 for what it does not have. */
struct px_cloned {
    int pidfd;
    int workspace; /* with PX_WORKSPACE_NEW */
    int listener;  /* with allowed_hosts: where its requests to the proxy arrive */
};
void px_cloned_close(struct px_cloned *cloned);

/* One request and its answer. `fds` stay the caller's. On failure *ret_lost tells that the zygote ended between the
 * request and its answer: a child may hold the descriptors, so a second request needs new ones. */
int px_zygotes_clone(struct px_zygotes *zygotes, struct px_clone_request *request, const int *fds, size_t count,
                     struct px_clone_reply *ret, struct px_cloned *ret_fds, bool *ret_lost, pyexec_error *error);

/* Starts the missing ones in the background. */
void px_zygotes_grow(struct px_zygotes *zygotes);

#endif
