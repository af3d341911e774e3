/* Configuration: INI file, environment and flags, merged over the defaults.
 * Sections [policy], [session], [host], [serve]; keys as in the tables, values as in flags.
 * Order: defaults < file < environment (PYEXEC_POLICY_TIMEOUT=5s, PYEXEC_HOST_ZYGOTES=1)
 * < flags. */
#ifndef PX_POLICY_CONFIG_H
#define PX_POLICY_CONFIG_H

#include "policy/policy.h"

/* How the executor itself is run; the configuration's [host] section. host.def is the table:
 * PX_HOST_FIELD(kind, name, default, minimum, maximum, nullable, meaning). */
struct px_host {
    struct px_strings allow_missing;    /* layer names */
    int64_t zygotes;                    /* 2 */
    int64_t pool_size;                  /* 16 */
    int64_t pool_idle_ms;               /* 5m */
    char *uid_range;                    /* NULL, or "START:COUNT" */
    char *cgroup;                       /* "auto", "off" or a path */
    int64_t queue_length;               /* 256 */
    int64_t max_concurrent;             /* 0 in the struct: 2 x CPUs */
};

int px_host_init(struct px_host *host, pyexec_error *error);
void px_host_done(struct px_host *host);
int px_host_merge_json(struct px_host *host, const json_t *object, pyexec_error *error);
int px_host_set_text(struct px_host *host, const char *name, const char *text, pyexec_error *error);
json_t *px_host_to_json(const struct px_host *host);

/* Merges a configuration file (`path` NULL: /etc/pyexec/pyexec.conf when it exists) and the
 * environment into both. Unknown sections and keys are invalid_policy with file and line. */
int px_config_load(const char *path, struct px_policy *policy, struct px_host *host,
                   pyexec_error *error);

#endif
