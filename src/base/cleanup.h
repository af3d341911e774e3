/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes. Initialise such a variable where it is declared; hand its value over with TAKE_PTR or
 * TAKE_FD. */
#ifndef PX_BASE_CLEANUP_H
#define PX_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void px_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

/* Keeps errno, so that it can be called between a failure and its report. */
static inline void px_close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
    *fd = -1;
}

static inline void px_close_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

/* Some variables only hold an object that is freed at the end of the scope; clang would call them unused. */
#define px_auto(function) __attribute__((cleanup(function), unused))
#define px_auto_free px_auto(px_free_pointer)
#define px_auto_fd px_auto(px_close_fd)
#define px_auto_folder px_auto(px_close_folder)

#define TAKE_PTR(pointer) \
    ({ \
        __typeof__(pointer) px_taken = (pointer); \
        (pointer) = NULL; \
        px_taken; \
    })
#define TAKE_FD(fd) \
    ({ \
        int px_taken = (fd); \
        (fd) = -1; \
        px_taken; \
    })

/* A number that is a macro, as a string constant. */
#define PX_TEXT_(number) #number
#define PX_TEXT(number) PX_TEXT_(number)

#define PX_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
