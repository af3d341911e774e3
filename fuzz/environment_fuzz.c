/* SPDX-License-Identifier: Apache-2.0 */
/* Reads environment.json. The hash in the file must be HASH. An environment that is accepted has paths inside of its folder, names of
 * modules that are single words, and limits above 0. An error must be one line of printable UTF-8. */
#include "base/cleanup.h"
#include "environments/environment.h"
#include "fuzz.h"

#define HASH "0123456789abcdef0123456789abcdef"
#define FOLDER "/store/" HASH

static void require_limit(int64_t limit)
{
    require(limit == PX_ENVIRONMENT_ABSENT || limit > 0);
}

static void require_modules(char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        require(names[i][0] && !strpbrk(names[i], " /,;'\"\n\\") && px_utf8_valid(names[i], strlen(names[i]), NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pyexec_error error;
    const struct px_environment *environment;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *bytes = malloc(size ? size : 1);
    require(bytes);
    memcpy(bytes, data, size);
    if (px_environment_parse(bytes, size, "fuzz", FOLDER, &environment, &error) < 0) {
        require_error(&error, PYEXEC_PYTHON_NOT_FOUND);
        return 0;
    }
    require(strcmp(environment->hash, HASH) == 0 && strcmp(environment->folder, FOLDER) == 0);
    require(strncmp(environment->python, FOLDER "/", strlen(FOLDER) + 1) == 0 && !strstr(environment->python, "/../"));
    require_modules(environment->imports, environment->import_count);
    require_modules(environment->preloads, environment->preload_count);
    require_limit(environment->address_space_bytes);
    require_limit(environment->max_threads);
    require_limit(environment->cpu_time_seconds);
    require_limit(environment->timeout_ms);
    px_environment_unref(environment);
    return 0;
}
