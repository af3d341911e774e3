/* SPDX-License-Identifier: Apache-2.0 */
/* What scripts and requests say about packages: the metadata of a script (PEP 723), requirements, and requires-python. A requirement that is
 * accepted is one line of ASCII that begins with a name, and names no address, path, option or variable. An error must be one line of
 * printable UTF-8. */
#include <ctype.h>

#include "base/cleanup.h"
#include "env_build/env_python.h"
#include "env_build/env_requirements.h"
#include "env_build/env_script.h"
#include "fuzz.h"
#include "policy/requirement.h"

/* What an installer would read as something else than a name with versions. */
static void require_plain(const char *line, size_t length)
{
    require(length && isalnum((unsigned char)*line));
    for (size_t i = 0; i < length; i++)
        require((unsigned char)line[i] >= 0x20 && (unsigned char)line[i] < 0x7f);
}

static void fuzz_request(const char *text, size_t length)
{
    pyexec_error error;
    px_auto(px_strings_done) struct px_strings named = {0};
    px_auto(px_strings_done) struct px_strings again = {0};
    px_auto_buffer struct px_buffer one = {0}, two = {0};
    if (px_requirement_parse(text, length, &one, &named, &error) < 0) {
        require_error(&error, PYEXEC_INVALID_REQUEST);
        return;
    }
    require_plain(one.data, one.length);
    require(!memchr(one.data, ' ', one.length) && !memchr(one.data, '/', one.length) &&
            !memchr(one.data, ':', one.length));
    require(!memchr(one.data, '@', one.length) && !memchr(one.data, '$', one.length) &&
            !memchr(one.data, ';', one.length));
    /* Its spelling is its own spelling. */
    require(px_requirement_parse(px_buffer_string(&one), one.length, &two, &again, &error) == 0);
    require(two.length == one.length && memcmp(one.data, two.data, one.length) == 0 && again.count == named.count);
    /* The writer of environments takes it as it is. */
    px_auto(env_requirements_done) struct env_requirements requirements;
    env_requirements_init(&requirements, false);
    if (env_requirements_add_name(&requirements, px_buffer_string(&one), &error) == 0)
        require(requirements.text.length == one.length + 1 && requirements.variables.count == 0);
}

static void fuzz_name(const char *text)
{
    pyexec_error error;
    px_auto(env_requirements_done) struct env_requirements requirements;
    env_requirements_init(&requirements, false);
    if (env_requirements_add_name(&requirements, text, &error) < 0) {
        require_error(&error, PYEXEC_INVALID_REQUEST);
        return;
    }
    size_t length = requirements.text.length;
    if (!length) /* only a comment */
        return;
    require(requirements.text.data[length - 1] == '\n' && !memchr(requirements.text.data, '\n', length - 1));
    require(requirements.variables.count == 0 && !strstr(px_buffer_string(&requirements.text), " --"));
}

static void fuzz_specifiers(const char *text)
{
    bool valid = false, satisfied = env_python_satisfies("3.11.2", text, &valid);
    require(valid || !satisfied);
}

static void fuzz_script(const char *code, size_t length)
{
    pyexec_error error;
    px_auto(env_script_done) struct env_script script = {0};
    if (env_script_read(code, length, &script, &error) < 0) {
        require_error(&error, PYEXEC_INVALID_REQUEST);
        return;
    }
    for (size_t i = 0; i < script.dependencies.count; i++)
        fuzz_name(script.dependencies.items[i]);
    if (script.requires)
        fuzz_specifiers(script.requires);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *bytes = malloc(size + 1);
    px_auto_free char *exact = malloc(size ? size : 1);
    require(bytes && exact);
    memcpy(exact, data, size);
    memcpy(bytes, data, size);
    bytes[size] = '\0';
    fuzz_script(exact, size);
    fuzz_request(bytes, size);
    fuzz_name(bytes);
    fuzz_specifiers(bytes);
    return 0;
}
