/* SPDX-License-Identifier: Apache-2.0 */
#include "base/service_manager.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

/* How long to wait until the socket of the service manager has room. If READY=1 is lost, systemd ends the unit after its
 * TimeoutStartSec=, by default 90 s (systemd.service(5)). */
#define QUEUE_WAIT_MS 5000

void px_service_notify(const char *state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (!length || length >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0';
    px_auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd < 0 || px_connect_nonblocking(fd, (const struct sockaddr *)&address, size) < 0)
        return;
    struct pollfd place = {.fd = fd, .events = POLLOUT};
    (void)!px_poll(&place, 1, QUEUE_WAIT_MS);
    (void)!px_send(fd, state, strlen(state), MSG_NOSIGNAL);
}

/* Returns a variable as a number, or 0. */
static long number_of(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    long number = text ? strtol(text, &end, 10) : 0;
    return end && !*end && number > 0 ? number : 0;
}

int px_service_sockets(void)
{
    long count = number_of("LISTEN_PID") == getpid() ? number_of("LISTEN_FDS") : 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (count > INT_MAX - PX_SERVICE_FD)
        return 0;
    for (int fd = PX_SERVICE_FD; fd < PX_SERVICE_FD + count; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            break; /* the caller finds that it is no socket */
    return (int)count;
}

int px_service_family(int fd)
{
    int type = 0, listens = 0;
    struct sockaddr_storage address;
    socklen_t type_size = sizeof type, listens_size = sizeof listens, size = sizeof address;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) < 0 || !listens ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    return address.ss_family;
}
