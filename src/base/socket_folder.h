/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of the socket on which `pyexec serve` listens when it is given no address. */
#ifndef PX_BASE_SOCKET_FOLDER_H
#define PX_BASE_SOCKET_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* Finds the first folder that is usable, because only this user can make or replace a socket in it. `make`: makes it if it
 * is missing. Returns false when there is none; then `ret` is the last one that was tried. */
bool px_socket_folder(char *ret, size_t size, bool make);

#endif
