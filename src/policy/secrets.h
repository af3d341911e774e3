/* SPDX-License-Identifier: Apache-2.0 */
/* The file of secrets that [egress] secrets names (docs/network.md): who gets which secret, and where its value is. The values are not
 * read here: the proxy alone reads them.
 *
 *     {"secrets": {"github": {"variable": "GITHUB_TOKEN", "host": "api.github.com", "header": "Authorization: Bearer {}",
 *                             "file": "/etc/pyexec/github.token"}}}
 *
 * In place of "file" there can be "environment", the name of a variable of pyexec itself. */
#ifndef PX_POLICY_SECRETS_H
#define PX_POLICY_SECRETS_H

#include "base/host_entry.h"
#include "policy/policy.h"

#define PX_SECRETS_MAX 256

struct px_secret_source {
    char *name, *variable, *host; /* host as in the file */
    struct px_host_entry entry;
    char *header, *before, *after; /* HEADER: BEFORE{}AFTER */
    char *file, *environment;      /* one of the two is NULL */
    int value;                     /* the memory file of a value from the environment; or -1 */
};

struct px_secret_sources {
    struct px_secret_source *items;
    size_t count;
};

/* Reads the file. Only its owner may have access to it. Returns 0, or -1 with `error`. */
int px_secret_sources_read(const char *path, struct px_secret_sources *ret, pyexec_error *error);
void px_secret_sources_done(struct px_secret_sources *sources);

/* Finds the secrets with these names (commas between them; NULL: all). ret[i] is true for each of them. Fails if there is none of a name,
 * or if two of them have the same variable, or the same host and header. `ret` has PX_SECRETS_MAX entries. */
int px_secret_sources_grant(const struct px_secret_sources *sources, const char *names, bool *ret, pyexec_error *error);

/* Moves the values that are in the environment of this process to memory files, and overwrites them there. */
int px_secret_sources_take_environment(struct px_secret_sources *sources, pyexec_error *error);

/* Opens the value of a secret, to be read from its beginning. Returns a descriptor, or -1 with `error`. */
int px_secret_source_open(const struct px_secret_source *source, pyexec_error *error);

/* True if allowed_hosts of the policy has the secret's host and port. */
bool px_secret_source_applies(const struct px_secret_source *source, const struct px_policy *policy);

#endif
