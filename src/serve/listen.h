/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: those that systemd passes, those of [serve] listen, or the own UNIX socket. */
#ifndef PX_SERVE_LISTEN_H
#define PX_SERVE_LISTEN_H

struct px_server;

#include "pyexec.h"

/* Fills server->listeners; none serves yet. */
int px_listen_all(struct px_server *server, pyexec_error *error);

/* Closes them and removes the UNIX sockets that were made here. */
void px_listen_done(struct px_server *server);

#endif
