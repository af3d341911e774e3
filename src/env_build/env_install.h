/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a virtual environment and installs packages into it, with uv where it is there, else with pip. */
#ifndef PX_ENV_BUILD_ENV_INSTALL_H
#define PX_ENV_BUILD_ENV_INSTALL_H

#include "env_build/env_python.h"
#include "env_build/env_requirements.h"

struct env_install {
    const char *folder; /* absolute; it gets env/venv, and tmp/ for the time of the installation */
    int lock;           /* see struct env_command */
    const char *uv;     /* path or name of uv; if it is not there, pip is used */
    const struct env_python *python;
    const struct env_requirements *requirements;
    bool show; /* the output of the installer goes to standard error too */
    void (*say)(void *closure, const char *line);
    void *closure;
};

/* `ret_tool` gets "uv 0.5.1" or "pip 23.0". */
#define ENV_TOOL_MAX 64
int env_install(const struct env_install *install, char ret_tool[ENV_TOOL_MAX], pyexec_error *error);

/* Looks whether there is a program that installs packages: uv, or pip for this interpreter. Returns 0, or -1 with an error. */
int env_install_check(const char *uv, const char *python, pyexec_error *error);

/* An error for an installation that failed, from the installer's output: invalid_request if other requirements could help, else internal with
 * the errno that comes nearest (ENOSPC: the disk is full; ENETUNREACH: the index can't be reached). */
int env_install_explain(const char *tool, int status, const char *output, pyexec_error *error);

#endif
