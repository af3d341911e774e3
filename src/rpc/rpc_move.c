/* SPDX-License-Identifier: Apache-2.0 */
/* move_answers: the lines of the server go to a UNIX socket from now on. Some languages can stop to wait for a socket, but not
 * for a pipe. With a socket the thread that waits for an answer can read it itself, and can still be interrupted. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/retry.h"
#include "rpc/rpc_private.h"

static int refuse(const char *path, int number, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "move_answers: can't connect to '%.100s': %s", path, strerror(number));
    return px_error_hint(error, "Give the path of a UNIX socket (SOCK_STREAM) that this client listens on.");
}

static int connect_to(const char *path, pyexec_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (!length || length >= sizeof address.sun_path)
        return refuse(path, length ? ENAMETOOLONG : ENOENT, error);
    memcpy(address.sun_path, path, length);
    px_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_error_exhausted(error, errno, "can't make a socket");
    if (px_connect_nonblocking(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return refuse(path, errno, error);
    return TAKE_FD(fd);
}

void px_rpc_move_answers(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    const char *path = json_string_value(json_object_get(params, "path"));
    px_auto_fd int fd = connect_to(path ? path : "", &error);
    if (fd < 0)
        px_rpc_fail(rpc, id, &error);
    else if (!px_rpc_answer_and_move(rpc, id, TAKE_FD(fd)))
        px_rpc_lose(rpc, id ? id : "null", id ? strlen(id) : 4);
}
