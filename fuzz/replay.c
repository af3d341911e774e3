/* SPDX-License-Identifier: Apache-2.0 */
/* Calls a fuzz target with each file of a folder, as libFuzzer does. It makes the seeds a test, for compilers without libFuzzer. */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "fuzz.h"

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *item;
    int count = 0;
    if (!folder)
        errx(1, "usage: %s FOLDER", argv[0]);
    while ((item = readdir(folder))) {
        if (item->d_name[0] == '.')
            continue;
        struct px_buffer px_auto_buffer bytes = {0};
        px_auto_fd int file = openat(dirfd(folder), item->d_name, O_RDONLY | O_CLOEXEC);
        if (file < 0 || px_read_all(file, &bytes, 1 << 20) < 0)
            err(1, "%s", item->d_name);
        fprintf(stderr, "%s\n", item->d_name);
        LLVMFuzzerTestOneInput((const uint8_t *)px_buffer_string(&bytes), bytes.length);
        count++;
    }
    closedir(folder);
    printf("%d files\n", count);
    return count ? 0 : 1;
}
