/* SPDX-License-Identifier: Apache-2.0 */
/* Where environments are when the configuration does not say it. */
#include <stdlib.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "policy/config.h"

char *px_env_config_root(const struct px_env_config *env, pyexec_error *error)
{
    px_auto_buffer struct px_buffer path = {0};
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (env->root) {
        px_buffer_add_string(&path, env->root);
    } else if (geteuid() == 0) {
        px_buffer_add_string(&path, "/var/lib/pyexec/env");
    } else if (data && *data == '/') { /* the specification says to ignore relative paths */
        px_buffer_printf(&path, "%s/pyexec/env", data);
    } else if (home && *home == '/') {
        px_buffer_printf(&path, "%s/.local/share/pyexec/env", home);
    } else {
        px_error_set(error, PYEXEC_INVALID_POLICY, "no folder for environments: HOME is not set");
        px_error_hint(error, "Set HOME, or root in the section [env] of the configuration (PYEXEC_ENV_ROOT=/FOLDER).");
        return NULL;
    }
    char *root = px_buffer_take(&path);
    if (!root)
        px_error_oom(error);
    return root;
}
