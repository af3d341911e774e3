/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>

#include "base/error.h"
#include "cli/nats_command.h"
#include "cli/serve_function.h"

px_serve_fn cli_serve_function(pyexec_error *error)
{
    void *module =
        cli_module_open("pyexec_serve.so",
                        "Install the Debian package pyexec-server, the tarball, or the wheel pyexec-runtime. "
                        "The jars and the packages of npm have no server. A build needs libmicrohttpd, "
                        "libarchive and libssl for it.",
                        error);
    px_serve_fn run = module ? (px_serve_fn)(uintptr_t)dlsym(module, PX_SERVE_SYMBOL) : NULL;
    if (module && !run)
        px_error_set(error, PYEXEC_INTERNAL, "the server's module is of another version");
    return run;
}
