/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: those that systemd passes, those of [serve] listen, or a UNIX socket at the default path. */
#ifndef PX_SERVE_LISTEN_H
#define PX_SERVE_LISTEN_H

struct px_server;

#include "pyexec.h"

/* Fills server->listeners. None of them serves yet. */
int px_listen_all(struct px_server *server, pyexec_error *error);

/* Closes the sockets, and removes the files of UNIX sockets that this process made. */
void px_listen_done(struct px_server *server);

#endif
