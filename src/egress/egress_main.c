/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-egress: starts, serves until its host ends, ends. */
#include <ares.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "egress/egress_private.h"
#include "egress/egress_wall.h"

enum { GOOD = 0, FAILED = 1 };

static int serve(struct egress *egress)
{
    struct event_config *config = event_config_new();
    if (!config)
        return -1;
    /* No variable of the environment changes the loop. */
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK);
    egress->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!egress->base || px_egress_packets_start(egress) < 0)
        return -1;
    return event_base_dispatch(egress->base) < 0 || egress->failed ? -1 : 0;
}

int main(void)
{
    static struct egress egress;
    int type = 0;
    socklen_t length = sizeof type;
    px_egress_wall_prepare();
    if (getsockopt(PX_EGRESS_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "pyexec-egress is started by pyexec, for executions with allowed_hosts (docs/network.md)\n");
        return FAILED;
    }
    /* Signals for a whole group of processes are for pyexec, which closes the socket when it ends. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    /* The configuration of OpenSSL can't be read later, and could load modules. */
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL);
    if (fcntl(PX_EGRESS_FD, F_SETFL, O_NONBLOCK) < 0 || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        fprintf(stderr, "pyexec-egress: can't start\n");
        return FAILED;
    }
    int failed = serve(&egress);
    px_egress_runs_free(&egress);
    px_egress_packets_done(&egress);
    px_egress_resolve_done(&egress);
    if (egress.base) {
        (void)event_base_loop(egress.base, EVLOOP_NONBLOCK); /* bufferevent_free(3) leaves its last step to the loop */
        event_base_free(egress.base);
    }
    ares_library_cleanup();
    return failed ? FAILED : GOOD;
}
