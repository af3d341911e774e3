/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the host library and pyexec-egress, the proxy through which runs with allowed_hosts reach the network.
 *
 *   descriptor 0 of pyexec-egress   one SOCK_SEQPACKET, both directions; at its end the program ends
 *   descriptor 1                    /dev/null
 *   descriptor 2                    standard error: only what went wrong in the program itself
 *
 * The host starts the program with px_libexec_spawn() and an empty environment. Each packet is one JSON object of at most
 * PX_EGRESS_PACKET_MAX bytes. Both ends trust each other; neither sends bytes of a script except names of hosts, which the
 * program has checked. A packet that the program does not understand ends it with a message on standard error.
 *
 * host → egress
 *
 *   {"op": "start", "uid": N | null, "gid": N | null, "allow_private": ["10.0.0.0/8", …], "upstream": "http://USER:PASSWORD@NAME:PORT" |
 *    null, "request_timeout_ms": N, "resolve_timeout_ms": N, "connect_timeout_ms": N, "idle_timeout_ms": N, "max_connections": N, "max_run_connections": N}
 *       With one descriptor, which may be missing: a pidfd of the host. The program ends with it too, because a process that the host
 *       forked may hold the socket open. The first packet; answered by "ready" or "failed". uid and gid are the ids that the program takes if it is started with
 *       CAP_SETUID; without uid it then fails. Ask px_run_ids_other() for one: no script may run with the same id. A number that is
 *       left out, and 0, mean the default below. allow_private are networks outside of the public internet that may be reached.
 *
 *   {"op": "authority"}
 *       With two descriptors: a memory file for the key of the authority of secrets, which is empty the first time, and a file with the
 *       certificates (PEM) that servers are checked with. Before the first "secret". Answered by "authority".
 *   {"op": "secret", "name": "github", "host": "api.github.com", "header": "Authorization", "before": "Bearer ", "after": ""}
 *       With one descriptor: a file with the value, of PX_EGRESS_SECRET_MIN to PX_EGRESS_SECRET_MAX bytes. Answered by "secret".
 *
 *   {"op": "open", "run": N, "allowed_hosts": ["a.example:80", "*.b.example"],
 *    "secrets": [{"name": "github", "placeholder": "pyexec-secret-GITHUB_TOKEN-…"}]}
 *       With one descriptor: a listening TCP socket. A connection to it is a request of this run. N is from 1 to 2^53. The entries
 *       are as in base/host_entry.h. Answered by "opened", or by "failed" with "run". Opening the same N again ends the program.
 *
 *   {"op": "report", "run": N}
 *       Asks for a report, and begins the next one: its numbers count from here on, and each denial is reported again.
 *
 *   {"op": "close", "run": N}
 *       Closes the listener and the run's connections; then the last report comes.
 *
 * egress → host
 *
 *   {"event": "ready", "missing": ["landlock", …]}
 *       missing: layers of the program's own wall that this kernel or container refused.
 *   {"event": "failed", "why": "…"}
 *       The program ends.
 *   {"event": "opened", "run": N}
 *   {"event": "failed", "run": N, "why": "…"}
 *       The program can't serve this run. It goes on serving the others.
 *   {"event": "authority", "certificate": "-----BEGIN CERTIFICATE-----…" | null, "why": "…" | null}
 *   {"event": "secret", "name": "github", "why": "…" | null}
 *       why: it can't be used. It never has bytes of the value.
 *   {"event": "denied", "run": N, "host": "…", "port": N, "why": "host", "address": "10.0.0.1" | null, "text": "…"}
 *       Once for each (host, port, why) of a report. host is the name from the request: at most 253 printable ASCII bytes; "" if
 *       the request names none. text says in plain words what was refused and which policy field to change.
 *   {"event": "report", "run": N, "last": true, "hosts": [{"host": "…", "port": N, "verdict": "allowed" | "denied" | "failed",
 *    "why": "…" | null, "address": "…" | null, "connections": N, "sent": N, "received": N}, …], "more": N}
 *       At most PX_EGRESS_ROWS_MAX rows; "more" counts the requests that found no row. sent and received are bytes of the
 *       script's connection to this host, without the proxy's own part. A connection that is open is counted so far.
 *
 * Why a request was denied (`why`), PX_EGRESS_DENIALS:
 *   host            allowed_hosts has no entry for the name, or the request names an IP address
 *   port            it has an entry for the name, but with another port
 *   address         the name leads to an address that is not public, and allow_private does not have it
 *   name_mismatch   SNI or Host is another name than the one that the proxy was asked for
 *   protocol        the request is not HTTP, or is written in a way that two programs can read differently; or a tunnel carries
 *                   neither TLS nor HTTP
 *   limit           too many connections
 * Why it failed, without a denial: resolve, connect, timeout, upstream. */
#ifndef PX_PROTOCOL_EGRESS_H
#define PX_PROTOCOL_EGRESS_H

/* The variables of a run that lead to the proxy and to the authorities, in the spellings that clients look for. */
#define PX_PROXY_URL_VARIABLES \
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "ws_proxy", \
        "WSS_PROXY", "wss_proxy"
#define PX_PROXY_CA_VARIABLES "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"
#define PX_PROXY_VARIABLES PX_PROXY_URL_VARIABLES, "NO_PROXY", "no_proxy", PX_PROXY_CA_VARIABLES

#define PX_EGRESS_PROGRAM "pyexec-egress"
#define PX_EGRESS_FD 0
#define PX_EGRESS_BACKLOG 128
#define PX_EGRESS_PORT 3128 /* of the listener in a run's own network namespace, on 127.0.0.1 */
#define PX_EGRESS_PACKET_MAX 131072
#define PX_EGRESS_HOSTS_MAX 256   /* entries of allowed_hosts */
#define PX_EGRESS_PRIVATE_MAX 64  /* entries of allow_private */
#define PX_EGRESS_ROWS_MAX 100    /* rows of a report, and so also its denials */
#define PX_EGRESS_RUNS_MAX 100000 /* runs that are open at the same time */

#define PX_EGRESS_SECRET_MIN 8    /* bytes of a secret's value */
#define PX_EGRESS_SECRET_MAX 8000 /* so that servers take a head with it */

#define PX_EGRESS_REQUEST_TIMEOUT_MS 30000 /* the head of a request, and the first bytes in a tunnel */
#define PX_EGRESS_RESOLVE_TIMEOUT_MS 10000
#define PX_EGRESS_CONNECT_TIMEOUT_MS 10000 /* for each address */
#define PX_EGRESS_IDLE_TIMEOUT_MS 300000   /* no byte in either direction */
#define PX_EGRESS_CONNECTIONS 4096         /* of all runs together; the limit of open descriptors can lower it */
#define PX_EGRESS_RUN_CONNECTIONS 64

#define PX_EGRESS_DENIALS "host", "port", "address", "name_mismatch", "protocol", "limit"

#endif
