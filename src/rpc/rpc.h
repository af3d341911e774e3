/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0, one message a line: the transport of language clients (docs/rpc.md).
 * An adapter over pyexec.h: requests run concurrently, each on a thread of its own, and are
 * answered by id as they end. The input is a client's: parsed as hostile, bounded, and a bad
 * line disturbs nothing else. */
#ifndef PX_RPC_RPC_H
#define PX_RPC_RPC_H

#include <stdbool.h>

/* Serves until the end of input, a `shutdown` request, or until `stop` (a descriptor, or -1) is
 * readable; ends all runs then. With `drain`, the end of input waits until all runs have ended by themselves, as
 * long as somebody can read the output. Returns 0, or the errno with which the output failed. */
int px_rpc_serve(int input, int output, int stop, bool drain);

#endif
