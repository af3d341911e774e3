/* SPDX-License-Identifier: Apache-2.0 */
/* See musl.h. */
#include <string.h>

/* The texts of musl are constants, also that of a number that it does not know. */
const char *strerrordesc_np(int number)
{
    return strerror(number);
}
