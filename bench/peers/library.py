# SPDX-License-Identifier: Apache-2.0
"""pyexec through its C API, which is called with ctypes. pooled.py and unpooled.py use it."""
import ctypes
import json
import os

from . import driver

ISOLATES = {"processes": "its own PID namespace; it can't start any", "network": "none, by namespace and seccomp",
            "files": "a minimal read-only tree and a workspace with a quota", "memory": "limited", "cpu": "limited",
            "kernel": "about 150 system calls by an allow-list, each with a reason; Landlock"}


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("sys_errno", ctypes.c_int), ("retry_after_ms", ctypes.c_int),
                ("message", ctypes.c_char * 1024), ("hint", ctypes.c_char * 1024)]


class Executor:
    """An executor that stays open. `run(code)` and `run(code, session)` return what the code printed."""

    def __init__(self, path, policy, pool):
        self.library = ctypes.CDLL(path)
        for name, result, arguments in (("pyexec_executor_open", ctypes.c_int, [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]),
                                        ("pyexec_executor_free", None, [ctypes.c_void_p]),
                                        ("pyexec_request_new", ctypes.c_void_p, []),
                                        ("pyexec_request_free", None, [ctypes.c_void_p]),
                                        ("pyexec_request_set_code", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
                                        ("pyexec_execute_once", ctypes.c_int, [ctypes.c_void_p] * 4),
                                        ("pyexec_execute", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p] + [ctypes.c_void_p] * 3),
                                        ("pyexec_session_close", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]),
                                        ("pyexec_result_status", ctypes.c_int, [ctypes.c_void_p]),
                                        ("pyexec_result_stdout", ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_void_p]),
                                        ("pyexec_result_error_repr", ctypes.c_char_p, [ctypes.c_void_p]),
                                        ("pyexec_result_free", None, [ctypes.c_void_p])):
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        config = {"policy": policy, "host": {} if pool else {"pool_size": 0}, "session": {"max_count": 0}}
        self.error, self.executor = Error(), ctypes.c_void_p()
        if self.library.pyexec_executor_open(json.dumps(config).encode(), ctypes.byref(self.executor), ctypes.byref(self.error)):
            raise driver.Cannot(self.error.message.decode())

    def run(self, code, session=None):
        library, result = self.library, ctypes.c_void_p()
        request = library.pyexec_request_new()
        try:
            code = code.encode()
            library.pyexec_request_set_code(request, code, len(code))
            if session is None:
                failed = library.pyexec_execute_once(self.executor, request, ctypes.byref(result), ctypes.byref(self.error))
            else:
                failed = library.pyexec_execute(self.executor, session.encode(), request, ctypes.byref(result), ctypes.byref(self.error))
            if failed:
                raise driver.Cannot(self.error.message.decode())
            if library.pyexec_result_status(result):
                raise driver.Cannot((library.pyexec_result_error_repr(result) or b"a run ended with a limit").decode())
            return library.pyexec_result_stdout(result, None).decode()
        finally:
            library.pyexec_result_free(result)
            library.pyexec_request_free(request)

    def close(self, session):
        if self.library.pyexec_session_close(self.executor, session.encode(), ctypes.byref(self.error)):
            raise driver.Cannot(self.error.message.decode())

    def free(self):
        self.library.pyexec_executor_free(self.executor)


class Peer(driver.Peer):
    pool = True

    def __init__(self, program, python, science):
        path = os.path.join(os.path.dirname(program), "libpyexec.so")
        self.plain = Executor(path, {"python_bin": python, "use_import_whitelist": False}, self.pool)
        self.science = science and Executor(path, {
            "python_bin": science, "use_import_whitelist": False, "isolate_site": False, "address_space_bytes": None,
            "preload_imports": ["numpy", "pandas"]}, self.pool)
        self.run = self.plain.run

    def run_packages(self, code):
        if not self.science:
            raise driver.Cannot("numpy and pandas are not installed")
        return self.science.run(code)

    def open(self, name):
        self.plain.run("", name)

    def call(self, name, code):
        return self.plain.run(code, name)

    def close(self, name):
        self.plain.close(name)

    def stop(self):
        self.plain.free()
        if self.science:
            self.science.free()


def install(place, module):
    return place.driver(module, place.program, place.python, place.science()), place.version(place.program, "--version")
