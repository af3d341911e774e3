/* SPDX-License-Identifier: Apache-2.0 */
/* Other MCP servers, whose tools the runs of a principal call (code mode). Each principal has processes of its own: they start
 * with its first run and end when it has not run anything for idle_timeout, or when it may use other servers than before.
 *
 *     struct px_principal_servers *held = NULL;
 *     px_mcp_servers_take(servers, "alice", "github,files", &held, &error);
 *     px_principal_servers_clients(held)                   // for a run
 *     px_mcp_servers_give(servers, held);                  // after it
 */
#ifndef PX_SERVE_MCP_SERVERS_H
#define PX_SERVE_MCP_SERVERS_H

#include "mcp_client/mcp_client.h"
#include "policy/config.h"
#include "pyexec.h"

struct px_mcp_servers;
struct px_principal_servers;

/* *ret is NULL if the configuration has no servers. */
int px_mcp_servers_new(const struct px_mcp_config *config, struct px_mcp_servers **ret, pyexec_error *error);
/* Nobody may hold any. */
void px_mcp_servers_free(struct px_mcp_servers *servers);

/* Checks that there is a server of each of these names (commas between them). invalid_policy: one is not there. `servers` may be
 * NULL: then there is none. */
int px_mcp_servers_check(const struct px_mcp_servers *servers, const char *principal, const char *names,
                         pyexec_error *error);

/* Holds the servers of a principal. *ret is NULL if it may use none: `servers` or `names` is NULL. */
int px_mcp_servers_take(struct px_mcp_servers *servers, const char *principal, const char *names,
                        struct px_principal_servers **ret, pyexec_error *error);
struct px_clients *px_principal_servers_clients(struct px_principal_servers *held);

/* After the run has ended. `held` may be NULL. */
void px_mcp_servers_give(struct px_mcp_servers *servers, struct px_principal_servers *held);

#endif
