/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/by_name.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/layers.h"
#include "protocol/egress.h"

static int set_up_loopback(int socket)
{
    struct ifreq request = {.ifr_name = "lo"};
    if (ioctl(socket, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(socket, SIOCSIFFLAGS, &request);
}

static int refuse(const char *what, pyexec_error *error)
{
    const struct px_layer_info *info = px_layer_info(PX_LAYER_NETWORK_NAMESPACE);
    px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno,
                   "allowed_hosts: %s; such a run needs a network namespace of its own, the layer '%s'", what,
                   info->name);
    return px_error_hint(error, "%s. Or leave allowed_hosts out.", info->remedy);
}

int px_by_name_enter(int *ret_listener, pyexec_error *error)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(PX_EGRESS_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (unshare(CLONE_NEWNET) < 0)
        return px_errno_exhausted(errno)
                   ? px_error_exhausted(error, errno, "can't make a network namespace for the run")
                   : refuse("can't make it", error);
    px_auto_fd int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return px_error_exhausted(error, errno, "can't make the proxy's listener");
    if (set_up_loopback(listener) < 0)
        return refuse("can't set up the loopback interface", error);
    /* The host stops the listener when the proxy ends, and lets it listen again for the next one. Connections of the first proxy still
     * have its port then. */
    int yes = 1;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0)
        return refuse("can't set up its listener", error);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, PX_EGRESS_BACKLOG) < 0)
        return refuse("can't listen", error);
    *ret_listener = TAKE_FD(listener);
    return 0;
}

void px_by_name_leave(int own_namespace)
{
    if (setns(own_namespace, CLONE_NEWNET) < 0)
        _exit(EXIT_FAILURE);
}
