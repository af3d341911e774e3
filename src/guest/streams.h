/* SPDX-License-Identifier: Apache-2.0 */
/* sys.stdin, sys.stdout and sys.stderr of a script. */
#ifndef PX_GUEST_STREAMS_H
#define PX_GUEST_STREAMS_H

#include <stdbool.h>

/* Called in the zygote: makes the streams again, on whatever descriptors 0 to 2 will be in a child. They are UTF-8
 * and never fail to encode; output is line-buffered. Returns 0, or -1 with a Python exception set. */
int px_streams_prepare(void);

/* Flushes the output streams. With `replaced` it also flushes streams that the script has put in their place,
 * which runs the script's code. Never raises. */
void px_streams_flush(bool replaced);

/* True if sys.stdin is the stream that was made here, and it is open. Never raises. */
bool px_streams_input_works(void);

/* Puts sys.stdout and sys.stderr back where an earlier call has replaced or closed them. Never raises. */
void px_streams_restore_output(void);

/* Makes a new sys.stdin, without the text that an earlier call left unread. Never raises. */
void px_streams_renew_input(void);

#endif
