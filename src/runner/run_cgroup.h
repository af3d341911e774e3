/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup of one child, below the folder that pyexec-launch made (launch/cgroup.h). It is made before the
 * clone, which puts the child into it; it is read and removed after the child's exit. It is never used twice,
 * because memory that a run left stays charged to it. */
#ifndef PX_RUNNER_RUN_CGROUP_H
#define PX_RUNNER_RUN_CGROUP_H

#include <stdint.h>

#include "protocol/launch.h"
#include "result/run_status.h"

/* Returns the folder's descriptor, or -1 with errno. */
int px_run_cgroup_make(int base, uint64_t number, const struct px_clone_request *shape);
enum px_oom px_run_cgroup_oom(int base, uint64_t number);
void px_run_cgroup_remove(int base, uint64_t number);

#endif
