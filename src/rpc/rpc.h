/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0, with one message on each line: the transport of language clients (docs/rpc.md). It is an adapter
 * over pyexec.h. Requests run concurrently, each on its own thread, and each is answered when it ends. The input
 * comes from a client and is not trusted: it is parsed strictly and with limits, and a bad line has no effect on
 * other requests. */
#ifndef PX_RPC_RPC_H
#define PX_RPC_RPC_H

#include <stdbool.h>

#include "pyexec.h"

/* Serves until the end of input, a `shutdown` request, or until `stop` (a descriptor, or -1) is readable, and then
 * ends all runs. With `drain`, it waits at the end of input until all runs have ended by themselves, as long as a
 * program can read the output. `defaults` has sections of the configuration ("env", "egress") for a client that sends none; or NULL. `opened` (or NULL) is called when the client has made its executor. If it returns -1,
 * `initialize` fails with its error. Returns 0, or the errno with which the output failed. */
typedef int (*px_rpc_opened_fn)(void *closure, pyexec_executor *executor, pyexec_error *error);
int px_rpc_serve(int input, int output, int stop, bool drain, const struct json_t *defaults, px_rpc_opened_fn opened,
                 void *closure);

#endif
