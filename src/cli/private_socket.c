/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/private_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/retry.h"

#define PRIVATE_BACKLOG 1024

int cli_private_socket(int *ret_listener, int *ret_place, pyexec_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *top = getenv("TMPDIR");
    char folder[80];
    snprintf(folder, sizeof folder, "%s/pyexec-XXXXXX", top && *top && strlen(top) < 60 ? top : "/tmp");
    if (!mkdtemp(folder)) /* mode 0700 */
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    px_auto_fd int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
                 listen(listener, PRIVATE_BACKLOG) < 0;
    px_auto_fd int place = failed ? -1 : px_open(address.sun_path, O_PATH, 0);
    int saved = errno;
    unlink(address.sun_path);
    rmdir(folder);
    if (failed || place < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, saved, "can't make the server's socket in '%s'", folder);
    *ret_listener = TAKE_FD(listener);
    *ret_place = TAKE_FD(place);
    return 0;
}
