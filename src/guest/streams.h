/* SPDX-License-Identifier: Apache-2.0 */
/* sys.stdin, sys.stdout and sys.stderr of a script. */
#ifndef PX_GUEST_STREAMS_H
#define PX_GUEST_STREAMS_H

#include <stdbool.h>

/* Zygote: makes them anew, on whatever descriptors 0 to 2 will be in a child: UTF-8 that can't
 * fail, output line-buffered. 0, or -1 with a Python exception set. */
int px_streams_prepare(void);

/* Flushes the output; with `replaced` also streams that the script has put in its place, which
 * runs the script's code. Never raises. */
void px_streams_flush(bool replaced);

/* Whether sys.stdin is the one made here, and open. Never raises. */
bool px_streams_input_works(void);

/* Puts sys.stdout and sys.stderr back where an earlier call has replaced or closed them. Never raises. */
void px_streams_restore_output(void);

/* A fresh sys.stdin, without what an earlier call left unread. Never raises. */
void px_streams_renew_input(void);

#endif
