/* SPDX-License-Identifier: Apache-2.0 */
/* A listening UNIX socket without a name, for a server that only this program and its children use. */
#ifndef PX_CLI_PRIVATE_SOCKET_H
#define PX_CLI_PRIVATE_SOCKET_H

#include "pyexec.h"

/* Makes a listening socket, and a descriptor by which it is reached (/proc/self/fd/N): its name is removed at once, so that nothing
 * of it is left whatever is killed. The second one is inherited by exec. */
int cli_private_socket(int *ret_listener, int *ret_place, pyexec_error *error);

#endif
