/* SPDX-License-Identifier: Apache-2.0 */
/* Requirements of packages: their names, and the strict form that a request over the network may use. */
#ifndef PX_POLICY_REQUIREMENT_H
#define PX_POLICY_REQUIREMENT_H

#include "base/buffer.h"
#include "policy/policy.h"

#define PX_PACKAGE_NAME_MAX 200

/* The name of a package in the form in which names are compared (PEP 503): "Ruamel.YAML[all]>=1" gives ruamel-yaml. Returns false
 * if the requirement does not begin with a name, as a path or an address does not. */
bool px_package_name(const char *requirement, char name[PX_PACKAGE_NAME_MAX]);

/* Reads NAME, NAME[EXTRA,…] or one of them with versions, and nothing else: no address, path, option, marker or variable. Appends its one
 * spelling to `ret`: "ruamel-yaml[all]>=1,<2"; and to `ret_named` each text that must be allowed for it: "ruamel-yaml" and
 * "ruamel-yaml[all]". Returns 0, or -1 with invalid_request. */
int px_requirement_parse(const char *text, size_t length, struct px_buffer *ret, struct px_strings *ret_named,
                         pyexec_error *error);

/* Adds the one spelling of an item of allow_requests: NAME or NAME[EXTRA]. Returns 0, or -1 with invalid_policy if it is something else. */
int px_requirement_allow(struct px_strings *allowed, const char *item, pyexec_error *error);
/* The same for all of them, with commas between them. */
int px_requirement_allow_all(struct px_strings *allowed, const char *items, pyexec_error *error);

#endif
