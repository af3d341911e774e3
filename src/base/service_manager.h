/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd, or whatever speaks its protocol, and a service say to each other: sd_notify(3) and sd_listen_fds(3). They are a datagram and
 * three environment variables, so no library is needed, and a static program can do it too. */
#ifndef PX_BASE_SERVICE_MANAGER_H
#define PX_BASE_SERVICE_MANAGER_H

#define PX_SERVICE_FD 3 /* the first descriptor that is passed */

/* Sends lines KEY=VALUE to the service manager, if there is one. */
void px_service_notify(const char *state);

/* Returns how many descriptors were passed to this process, from PX_SERVICE_FD on, and takes the environment variables away. From then on
 * the descriptors are closed at exec. */
int px_service_sockets(void);

/* Returns the address family of a stream socket that listens, or -1 for anything else. */
int px_service_family(int fd);

#endif
