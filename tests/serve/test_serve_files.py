"""`pyexec serve`: a session's files: names, ranges, quota, uploads that break off, archives both ways."""
import contextlib
import io
import os
import subprocess
import tarfile

import pytest

from serving import dial, raw, serving, statuses
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--files", "full", "--workspace-bytes", "8M", "--any-import") as running:
        yield running


@pytest.fixture(scope="module", params=["memory", "folder"])
def both(request, own, session_folder):
    """Workspaces in memory, where the kernel enforces the quota, and in folders of the host, where pyexec does."""
    config = "[session]\nworkspace_root = %s\n" % session_folder if request.param == "folder" else ""
    with serving(own, "--files", "full", "--workspace-bytes", "8M", "--any-import", config=config) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """The same fixture as in test_serve.py."""


@pytest.fixture
def box(server):
    yield from _box(server)


@pytest.fixture
def any_box(both):
    yield from _box(both)


def _box(server):
    made = server.ask("POST", "/v1/sessions").json()["id"]
    yield Box(server, "/v1/sessions/" + made)
    server.ask("DELETE", "/v1/sessions/" + made)


class Box:
    """Requests to the workspace of a session."""

    def __init__(self, server, path):
        self.server, self.path, self.id = server, path, path.rsplit("/", 1)[1]

    def ask(self, method, name, body=None, headers=None):
        return self.server.ask(method, self.path + "/files" + name, body, headers)

    def names(self):
        return [one["path"] for one in self.ask("GET", "").json()["files"]]


def test_up_list_down_delete(any_box):
    data = os.urandom(3 * MIB)
    assert any_box.ask("PUT", "/a/b.bin", data).status == 204
    assert any_box.ask("GET", "").json() == {"files": [{"path": "a/b.bin", "bytes": len(data)}]}
    got = any_box.ask("GET", "/a/b.bin")
    assert got.body == data and got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff" and got.headers["Content-Disposition"] == "attachment"
    assert any_box.server.result("len(open('a/b.bin', 'rb').read())", any_box.id)["last_value_repr"] == str(len(data))
    assert any_box.ask("PUT", "/a/b.bin", b"").status == 204
    assert any_box.ask("GET", "/a/b.bin").body == b""
    assert any_box.ask("DELETE", "/a/b.bin").status == 204
    assert any_box.names() == []
    for method in ("GET", "DELETE"):
        answer = any_box.ask(method, "/a/b.bin")
        assert (answer.status, answer.json()["code"]) == (404, "not_found")


def test_a_script_owns_what_is_put(any_box):
    any_box.ask("PUT", "/deep/er/f", b"1")
    code = "import os\nopen('deep/er/f', 'a').write('2')\nopen('deep/er/g', 'w').write('3')\nos.remove('deep/er/f')"
    assert any_box.server.result(code, any_box.id)["status"] == "ok"
    assert any_box.names() == ["deep/er/g"]


def test_files_while_the_session_is_busy(box):
    connection = box.server.connection()
    connection.request("POST", box.path + "/execute", '{"code": "import time\\nwhile True: time.sleep(0.01)"}')
    wait_until(lambda: box.server.ask("GET", box.path).json()["busy"], "not busy")
    assert box.ask("PUT", "/f", b"x").status == 204 and box.ask("GET", "/f").body == b"x"
    connection.close()


# ---- Names ----

BAD = ["..", "../f", "a/../../f", "%2e%2e", "%2e%2e/f", "a/%2e%2e/%2e%2e/f", "..%2ff", "/f", "//etc/passwd", "%2fetc%2fpasswd",
       "%00", "a%00b", "a/", "a%2f", "%ff", "%c3", "%", "%z1", "a" * 256, "a/" * 2100 + "f", "%ed%a0%80", "."]


@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_nasty_names_are_refused(box, name, method):
    answer = box.ask(method, "/" + name, b"x" if method == "PUT" else None)
    assert answer.status in (400, 404, 414), answer.body
    if answer.status != 414:
        assert answer.json()["hint"]
    assert box.names() == [] and not os.path.exists("/tmp/f") and not os.path.exists("/f")


@pytest.mark.parametrize("name, there", [("%C3%A4%E2%82%AC%F0%9F%98%80", "ä€😀"), ("a%20b", "a b"), ("a%0Ab", "a\nb"), ("%25", "%"),
                                         ("a%2Fb", "a/b"), ("~", "~"), ("-rf", "-rf"), ("%22%5C", '"\\'), ("a" * 255, "a" * 255),
                                         ("...", "..."), ("%3Cscript%3E", "<script>"), ("a%3Fb", "a?b"), ("a+b", "a+b")], ids=str)
def test_odd_names_are_names(box, name, there):
    assert box.ask("PUT", "/" + name, b"x").status == 204
    assert box.names() == [there]
    assert box.ask("GET", "/" + name).body == b"x"
    assert box.server.result("open(%r).read()" % there, box.id)["last_value_repr"] == "'x'"
    assert box.ask("DELETE", "/" + name).status == 204


def test_links_and_special_files_of_a_script_lead_nowhere(any_box):
    code = ("import os\nos.symlink('/etc', 'out'); os.symlink('/etc/passwd', 'secret'); os.symlink('inside', 'link')\n"
            "os.mkdir('folder'); open('inside', 'w').write('x')")
    assert any_box.server.result(code, any_box.id)["status"] == "ok"
    for name in ("/out/passwd", "/secret", "/link", "/folder"):
        assert any_box.ask("GET", name).status == 400, name
    assert any_box.ask("PUT", "/out/pyexec-was-here", b"x").status == 400
    assert any_box.ask("PUT", "/folder", b"x").status == 400
    assert not os.path.exists("/etc/pyexec-was-here")
    # A new file replaces the link itself.
    assert any_box.ask("PUT", "/secret", b"mine").status == 204 and any_box.ask("GET", "/secret").body == b"mine"
    with open("/etc/passwd") as file:
        assert "mine" != file.read()


# ---- Ranges ----

@pytest.mark.parametrize("header, status, body", [
    ("bytes=0-0", 206, b"0"), ("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-3", 206, b"789"),
    ("bytes=-100", 206, b"0123456789"), ("bytes=0-100", 206, b"0123456789"), ("bytes=5-2", 200, b"0123456789"),
    ("bytes=1-2,4-5", 200, b"0123456789"), ("lines=1-2", 200, b"0123456789"), ("bytes=a-b", 200, b"0123456789"),
    ("bytes=", 200, b"0123456789"), ("bytes=10-", 416, None), ("bytes=-0", 416, None),
    ("bytes=99999999999999999999-", 416, None), ("bytes=0-99999999999999999999", 206, b"0123456789")])
def test_ranges(box, header, status, body):
    box.ask("PUT", "/f", b"0123456789")
    answer = box.ask("GET", "/f", headers={"Range": header})
    assert answer.status == status
    if status == 206:
        first, last = answer.headers["Content-Range"].split()[1].split("/")[0].split("-")
        assert b"0123456789"[int(first):int(last) + 1] == answer.body == body
    elif status == 200:
        assert answer.body == body and answer.headers["Accept-Ranges"] == "bytes"
    else:
        assert answer.headers["Content-Range"] == "bytes */10"


def test_a_range_with_a_condition_is_the_whole_file(box):
    box.ask("PUT", "/f", b"0123456789")
    assert box.ask("GET", "/f", headers={"Range": "bytes=1-2", "If-Range": '"x"'}).status == 200


def test_a_range_of_an_empty_file(box):
    box.ask("PUT", "/f", b"")
    assert box.ask("GET", "/f", headers={"Range": "bytes=0-"}).status == 416


# ---- Quota, and uploads that break off ----

def test_the_quota_holds_and_leaves_nothing_half(any_box):
    answer = any_box.ask("PUT", "/big", bytes(9 * MIB))
    assert answer.status == 507 and "workspace_bytes" in answer.json()["hint"]
    assert any_box.names() == []
    assert any_box.ask("PUT", "/fits", bytes(6 * MIB)).status == 204
    assert any_box.ask("PUT", "/more", bytes(3 * MIB)).status == 507
    assert any_box.names() == ["fits"]
    assert any_box.ask("DELETE", "/fits").status == 204
    assert any_box.ask("PUT", "/more", bytes(3 * MIB)).status == 204


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_an_upload_that_breaks_off_changes_nothing(any_box, framing):
    assert any_box.ask("PUT", "/f", b"whole").status == 204
    with dial(any_box.server.socket) as sock:
        head = "PUT %s/files/f HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % (any_box.path, framing)
        sock.sendall(head.encode() + (b"4000\r\n" if "chunked" in framing else b"") + b"x" * 0x4000)
        wait_until(lambda: len(any_box.names()) == 2, "nothing arrives")
    wait_until(lambda: any_box.names() == ["f"], "the rest of it stays")
    assert any_box.ask("GET", "/f").body == b"whole"


def test_a_file_is_replaced_in_one_step(box):
    """A client that has the old file open reads it to its end."""
    box.ask("PUT", "/f", b"old" * 100)
    box.server.result("handle = open('f')\nstart = handle.read(3)", box.id)
    box.ask("PUT", "/f", b"new")
    got = box.server.result("start + handle.read() == 'old' * 100, open('f').read()", box.id)
    assert got["last_value_repr"] == "(True, 'new')"


def test_a_chunked_upload_and_100_continue(box):
    def sent(extra):
        return ("PUT %s/files/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n" % (box.path, extra)).encode()
    got = raw(box.server.socket, sent("Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert statuses(got) == [204] and box.ask("GET", "/f").body == b"abcde"
    with dial(box.server.socket) as sock:
        sock.sendall(sent("Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(b"vwxyz")
        assert b" 204 " in sock.recv(1000)
    assert box.ask("GET", "/f").body == b"vwxyz"


def test_what_is_refused_is_not_asked_for(box):
    head = "PUT /v1/sessions/none/%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert statuses(raw(box.server.socket, (head % "nothing").encode())) == [404]


# ---- Archives ----

def tar_of(*members):
    """(name, bytes or a TarInfo's changes)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
                content = b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_an_archive_both_ways(any_box):
    data = {"a": b"1", "b/c": os.urandom(2 * MIB), "ä": b"", "x" * 150 + "/" + "y" * 150: b"long"}
    assert any_box.ask("PUT", "", tar_of(*data.items())).status == 204
    got = any_box.ask("GET", "", headers={"Accept": "application/x-tar"})
    assert got.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(got.body)) as archive:
        assert {one.name: archive.extractfile(one).read() for one in archive} == data
    assert any_box.ask("PUT", "", got.body).status == 204


def test_archives_as_tar_makes_them(box, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"x" * 5000)
    for form in ("gnu", "pax", "ustar", "v7"):
        data = subprocess.run(["tar", "--format=" + form, "-C", tmp_path, "-cf", "-", "."], capture_output=True, check=True).stdout
        assert box.ask("PUT", "", data).status == 204, form
        assert box.names() == ["d/f"]
        box.ask("DELETE", "/d/f")


def test_names_that_a_script_chose_are_packed(box):
    names = ["ä", "\n", "a" * 255, "-", "\U0001f600", "b/" * 50 + "c"]
    code = "import os\nfor name in %r:\n    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)\n    open(name, 'w').close()\n"
    assert box.server.result(code % names + "open(b'\\xff', 'w').close()", box.id)["status"] == "ok"
    got = box.ask("GET", "", headers={"Accept": "application/x-tar"})
    with tarfile.open(fileobj=io.BytesIO(got.body)) as archive:
        assert sorted(archive.getnames()) == sorted(names)


@pytest.mark.parametrize("name, content", [
    ("../out", b"x"), ("/tmp/pyexec-out", b"x"), ("a/../../out", b"x"), ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
    ("hard", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}), ("hard", {"type": tarfile.LNKTYPE, "linkname": "first"}),
    ("device", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}), ("disk", {"type": tarfile.BLKTYPE, "devmajor": 8}),
    ("pipe", {"type": tarfile.FIFOTYPE}), ("", b"x")])
def test_hostile_archives_are_refused(any_box, name, content):
    answer = any_box.ask("PUT", "", tar_of(("first", b"1"), (name, content)))
    assert answer.status == 400 and answer.json()["hint"]
    assert any_box.names() in (["first"], [])
    assert not os.path.exists("/tmp/pyexec-out") and not os.path.exists("/tmp/out")


def test_an_archive_does_not_write_through_links_of_the_script(box):
    box.server.result("import os\nos.symlink('/tmp', 'away'); os.symlink('/tmp/pyexec-out', 'f')", box.id)
    for name in ("away/pyexec-out", "f"):
        box.ask("PUT", "", tar_of((name, b"x")))
        assert not os.path.exists("/tmp/pyexec-out")


def test_an_archive_is_held_to_the_quota(any_box):
    """An archive is refused for its real bytes, for the sizes in its headers, and before it fills the disk."""
    assert any_box.ask("PUT", "", tar_of(*(("f%d" % i, bytes(MIB)) for i in range(9)))).status == 507
    for name in any_box.names():
        any_box.ask("DELETE", "/" + name)
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("huge")
        info.size = 1 << 40
        archive.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
    assert any_box.ask("PUT", "", bomb.getvalue() + bytes(10240)).status == 507
    assert any_box.ask("PUT", "", bytes(18 * MIB)).status == 507
    assert any_box.names() == []


def test_archives_on_their_way_are_bounded(own):
    with serving(own, "--files", "full") as server, contextlib.ExitStack() as stack:
        path = "/v1/sessions/" + server.ask("POST", "/v1/sessions").json()["id"] + "/files"
        head = "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" % path
        for _ in range(64):
            stack.enter_context(dial(server.socket)).sendall(head.encode() + bytes(1000))

        def status():
            return server.ask("PUT", path, tar_of(("f", b"1"))).status
        wait_until(lambda: status() == 503, "one more is taken")
        stack.close()
        wait_until(lambda: status() == 204, "their places are not given back")


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 511, b"not a tar" * 1000, os.urandom(10240)],
                         ids=["empty", "short", "zeros", "text", "noise"])
def test_what_is_no_archive_is_refused(box, data):
    answer = box.ask("PUT", "", data)
    assert answer.status == 400 and answer.json()["hint"]


def test_a_truncated_archive_is_refused(box):
    assert box.ask("PUT", "", tar_of(("f", b"x" * 5000))[:3000]).status == 400


# ---- Files take constant memory ----

def test_a_large_file_passes_in_constant_memory(own):
    size = 200 * MIB
    with serving(own, "--files", "full", "--workspace-bytes", "400M", "--address-space-bytes", "2G") as server:
        box = Box(server, "/v1/sessions/" + server.ask("POST", "/v1/sessions").json()["id"])

        def memory():
            with open("/proc/%d/status" % server.process.pid) as file:
                return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) * 1024
        box.ask("GET", "")
        before = memory()
        with contextlib.closing(server.connection()) as connection:
            connection.putrequest("PUT", box.path + "/files/f")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            for _ in range(size // MIB):
                connection.send(bytes(MIB))
            assert connection.getresponse().status == 204
        with contextlib.closing(server.connection()) as connection:
            connection.request("GET", box.path + "/files", headers={"Accept": "application/x-tar"})
            response = connection.getresponse()
            got = 0
            while block := response.read(MIB):
                got += len(block)
        assert got > size
        assert memory() - before < (160 if os.environ.get("SANITIZE") else 16) * MIB
