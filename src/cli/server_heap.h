/* SPDX-License-Identifier: Apache-2.0 */
/* The memory allocator of a server, whose answers are large, and are made and freed on many threads. */
#ifndef PX_CLI_SERVER_HEAP_H
#define PX_CLI_SERVER_HEAP_H

/* Once, before there are threads: free() gives the memory of each large block back to the kernel. */
void cli_heap_for_server(void);

#endif
