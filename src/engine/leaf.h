/* A child's own cgroup, below the folder that pyexec-launch made (launch/cgroup.h): made before the
 * clone, which puts the child into it; read and removed when its exit is known. Never used twice: what
 * a run has left charged to it goes with it. */
#ifndef PX_ENGINE_LEAF_H
#define PX_ENGINE_LEAF_H

#include <stdint.h>

#include "launch/launch.h"

/* What the kernel's out-of-memory killer did in it. */
enum px_oom {
    PX_OOM_NONE,
    PX_OOM_OWN,                 /* the run's own memory.max */
    PX_OOM_ABOVE,               /* a limit of a folder above, or the machine's memory */
};

/* The folder's descriptor, or -1 with errno. */
int px_leaf_make(int base, uint64_t number, const struct px_clone_request *shape);
enum px_oom px_leaf_oom(int base, uint64_t number);
void px_leaf_remove(int base, uint64_t number);

#endif
