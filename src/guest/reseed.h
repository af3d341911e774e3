/* SPDX-License-Identifier: Apache-2.0 */
/* New state for the random generators that a child shares with its siblings: those of numpy.random and OpenSSL.
 * Generators that read /dev/urandom share none, and the module random reseeds itself after a fork
 * (os.register_at_fork()). numpy.random.seed() runs so much Python that a child copies a hundred pages of the zygote.
 * So the zygote looks up the setter of the generator's state, and a child only calls that: one loop in C. */
#ifndef PX_GUEST_RESEED_H
#define PX_GUEST_RESEED_H

#include "guest/python.h"

/* Called in the zygote when modules have been imported. May be called again. */
void px_reseed_prepare(void);

/* Called in the child after PyOS_AfterFork_Child(). A generator of another kind, and numpy before 1.17, get a call of
 * numpy.random.seed(). */
void px_reseed(void);

/* The same only for OpenSSL: its numbers are secrets, and must not come twice. */
void px_reseed_openssl(void);

/* The state of the module random, which seeds itself anew after a fork: a new reference, or NULL if it is not loaded. The second
 * function gives it back. */
PyObject *px_reseed_keep_random(void);
void px_reseed_restore_random(PyObject *state);

#endif
