/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates of authorities that runs with allowed_hosts trust: those of the machine, and the operator's own. */
#ifndef PX_RUNNER_CA_BUNDLE_H
#define PX_RUNNER_CA_BUNDLE_H

#include "base/error.h"

/* Returns a sealed memory file of the machine's bundle and of `ca_file` and the certificate `authority` (PEM; NULL: none), or -1 with `error`. */
int px_ca_bundle_make(const char *ca_file, const char *authority, pyexec_error *error);

/* The path of the machine's bundle, or NULL if it has none. */
const char *px_ca_bundle_path(void);

#endif
