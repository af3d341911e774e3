"""libpyexec by ctypes, as the tests of sessions use it."""
import ctypes
import json
import os

from conftest import BUILD

lib = ctypes.CDLL(os.path.join(BUILD, "libpyexec.so.0"))
P = ctypes.c_void_p
lib.pyexec_request_new.restype = P
lib.pyexec_result_json.restype = ctypes.c_char_p
lib.pyexec_code_name.restype = ctypes.c_char_p
for name in ("pyexec_request_free", "pyexec_result_free", "pyexec_executor_free", "pyexec_result_json",
             "pyexec_session_close_all", "pyexec_request_cancel", "pyexec_request_interrupt"):
    getattr(lib, name).argtypes = [P]
free = ctypes.CDLL(None).free
free.argtypes = [P]


class Failure(Exception):
    def __init__(self, code, message, hint):
        super().__init__("%s: %s (%s)" % (code, message, hint))
        self.code, self.message, self.hint = code, message, hint


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("errno", ctypes.c_int), ("retry_after_ms", ctypes.c_int), ("message", ctypes.c_char * 1024),
                ("hint", ctypes.c_char * 1024)]

    def failure(self):
        return Failure(lib.pyexec_code_name(self.code).decode(), self.message.decode(), self.hint.decode())


class Executor:
    def __init__(self, policy=None, session=None, host=None):
        policy = {"python_bin": "/usr/bin/python3", **(policy or {})}
        config = json.dumps({"policy": policy, "session": session or {}, "host": host or {}}).encode()
        self.handle, error = P(), Error()
        if lib.pyexec_executor_open(config, ctypes.byref(self.handle), ctypes.byref(error)) < 0:
            raise error.failure()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        lib.pyexec_executor_free(self.handle)

    def call(self, session, code, **request):
        """The result object of one call; session None: a single run."""
        error, result = Error(), P()
        body = json.dumps({"code": code, **request}).encode()
        handle = P(lib.pyexec_request_new())
        try:
            if lib.pyexec_request_set_json(handle, body, ctypes.c_size_t(len(body)), ctypes.byref(error)) < 0:
                raise error.failure()
            if session is None:
                failed = lib.pyexec_execute_once(self.handle, handle, ctypes.byref(result), ctypes.byref(error))
            else:
                failed = lib.pyexec_execute(self.handle, session.encode(), handle, ctypes.byref(result), ctypes.byref(error))
            if failed < 0:
                raise error.failure()
            try:
                return json.loads(lib.pyexec_result_json(result))
            finally:
                lib.pyexec_result_free(result)
        finally:
            lib.pyexec_request_free(handle)

    def _do(self, name, *arguments):
        error = Error()
        if getattr(lib, name)(self.handle, *arguments, ctypes.byref(error)) < 0:
            raise error.failure()

    def _json(self, name, *arguments):
        text = ctypes.c_char_p()
        self._do(name, *arguments, ctypes.byref(text))
        value = json.loads(text.value)
        free(ctypes.cast(text, P))
        return value

    def interrupt(self, session):
        self._do("pyexec_session_interrupt", session.encode())

    def close(self, session):
        self._do("pyexec_session_close", session.encode())

    def close_all(self):
        lib.pyexec_session_close_all(self.handle)

    def sessions(self):
        return self._json("pyexec_sessions_json")

    def stats(self):
        return self._json("pyexec_stats_json")

    def list_files(self, session):
        return self._json("pyexec_session_list_files", session.encode())

    def read_file(self, session, path):
        data, length = P(), ctypes.c_size_t()
        self._do("pyexec_session_read_file", session.encode(), path.encode(), ctypes.byref(data), ctypes.byref(length))
        value = ctypes.string_at(data, length.value)
        free(data)
        return value

    def write_file(self, session, path, data):
        self._do("pyexec_session_write_file", session.encode(), path.encode(), data, ctypes.c_size_t(len(data)))

    def delete_file(self, session, path):
        self._do("pyexec_session_delete_file", session.encode(), path.encode())
