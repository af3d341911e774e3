/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/ca_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"

#define BUNDLE_MAX (16u << 20)

const char *px_ca_bundle_path(void)
{
    static const char *const paths[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Arch, Alpine */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* the same, older */
        "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
        "/etc/ssl/cert.pem",                                 /* Alpine without ca-certificates */
    };
    for (size_t i = 0; i < PX_COUNT(paths); i++)
        if (access(paths[i], R_OK) == 0)
            return paths[i];
    return NULL;
}

static int append(struct px_buffer *bundle, const char *path)
{
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || px_read_all(fd, bundle, BUNDLE_MAX) < 0)
        return -1;
    px_buffer_add_byte(bundle, '\n');
    return 0;
}

int px_ca_bundle_make(const char *ca_file, const char *authority, pyexec_error *error)
{
    px_auto_buffer struct px_buffer bundle = {0};
    const char *machine = px_ca_bundle_path();
    if (machine && append(&bundle, machine) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read the authorities of this machine, '%s'",
                              machine);
    if (ca_file && append(&bundle, ca_file) < 0) {
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "ca_file: can't read '%s'", ca_file);
        return px_error_hint(error,
                             "Set [egress] ca_file to a file of certificates (PEM) that pyexec's user can read.");
    }
    if (authority)
        px_buffer_add_string(&bundle, authority);
    if (!px_buffer_ok(&bundle))
        return px_error_oom(error);
    int fd = px_memory_file("ca", px_buffer_string(&bundle), bundle.length);
    return fd < 0 ? px_error_exhausted(error, errno, "can't make a memory file") : fd;
}
