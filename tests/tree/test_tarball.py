"""The tarball of the static program and its installer: for any user, under the shells that a small system has, without a network;
the same source gives the same bytes anywhere; its bill of materials is correct."""
import glob
import hashlib
import json
import os
import shutil
import subprocess

import pytest

import artifacts
from conftest import ROOT, USERS, uid_of
from environments import kept

SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"]]
INSTALLED = ["bin/pyexec", "libexec/pyexec/pyexec-egress", "libexec/pyexec/pyexec-launch", "libexec/pyexec/pyexec_guest.abi3.so", "libexec/pyexec/pyexec_guest_musl.abi3.so",
             "share/man/man1/pyexec.1",
             "share/bash-completion/completions/pyexec", "share/zsh/site-functions/_pyexec",
             "share/fish/vendor_completions.d/pyexec.fish", "share/doc/pyexec/LICENSE", "share/doc/pyexec/pyexec.spdx.json"]


@pytest.fixture(scope="module")
def tarball():
    return artifacts.tarball()


@pytest.fixture
def unpacked(tarball, open_folder):
    subprocess.run(["tar", "-C", str(open_folder), "-xzf", tarball], check=True)
    folder, = glob.glob(str(open_folder / "pyexec-*"))
    return folder


@pytest.fixture(params=USERS)
def user(request, open_folder):
    """Runs a command as this user, whose home folder is new, in a namespace without a network where that is possible."""
    uid, home = uid_of(request.param), open_folder / "home"
    home.mkdir()
    os.chown(home, uid, uid)
    offline = ["unshare", "--net"] if os.getuid() == 0 else []
    drop = ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"] if uid != os.getuid() else []

    def run(*command, **environment):
        return subprocess.run([*offline, *drop, *map(str, command)], capture_output=True, text=True, timeout=120, cwd="/",
                              env={"HOME": str(home), "PATH": os.defpath, **environment})
    run.uid, run.home = uid, home
    return run


def files(folder):
    return {os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_it_installs_runs_and_is_removed_without_a_trace(unpacked, user, shell, nothing_left):
    if not shutil.which(shell[0]):
        pytest.skip("there is no " + shell[0])
    prefix = user.home / "with a space"
    prefix.mkdir()
    os.chown(prefix, user.uid, user.uid)
    done = user(*shell, unpacked + "/install.sh", "--prefix", prefix)
    assert done.returncode == 0 and "a first script ran in the sandbox" in done.stdout, done
    assert "not in PATH" in done.stdout and "%s/bin/pyexec\n" % prefix in done.stdout and done.stderr == ""
    assert set(INSTALLED) <= files(prefix)
    assert {path for path in files(prefix) if os.access(prefix / path, os.X_OK)} == {
        "bin/pyexec", "libexec/pyexec/pyexec-egress", "libexec/pyexec/pyexec-launch", "libexec/pyexec/pyexec_guest.abi3.so",
        "libexec/pyexec/pyexec_guest_musl.abi3.so", "share/pyexec/install.sh"}
    shutil.rmtree(unpacked)
    done = user(prefix / "bin/pyexec", "run", "--json", "-c", "6 * 7")
    result = json.loads(done.stdout)
    assert (result["last_value_repr"], result["missing_layers"]) == ("42", []), result
    done = user(prefix / "bin/pyexec", "run", "--json", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50", "--allow-host", "a.example", "-c",
                "import urllib.request\nurllib.request.urlopen('https://evil.example/')")
    assert [denial["what"] for denial in json.loads(done.stdout)["denials"]] == ["request to evil.example:443"], done
    done = user(*shell, prefix / "share/pyexec/install.sh", "--uninstall")
    assert done.returncode == 0 and os.listdir(prefix) == [], (done, os.listdir(prefix))


def test_without_a_prefix_it_is_in_the_home_of_an_ordinary_user(unpacked, user):
    if user.uid == 0:
        pytest.skip("root's is /usr/local, which is this machine's own")
    assert user("sh", unpacked + "/install.sh").returncode == 0
    assert user("pyexec", "run", "-c", "6 * 7", PATH="%s/.local/bin:%s" % (user.home, os.defpath)).stdout == "42\n"
    assert user("sh", unpacked + "/install.sh", "--uninstall").returncode == 0
    assert files(user.home) == set()


def test_a_damaged_archive_installs_nothing(unpacked, user):
    with open(unpacked + "/libexec/pyexec/pyexec-launch", "ab") as file:
        file.write(b"\0")
    done = user("sh", unpacked + "/install.sh")
    assert done.returncode == 1 and "libexec/pyexec/pyexec-launch: FAILED" in done.stderr, done
    assert files(user.home) == set()


def test_a_file_that_is_missing_from_the_archive_installs_nothing(unpacked, user):
    os.unlink(unpacked + "/share/man/man1/pyexec.1")
    done = user("sh", unpacked + "/install.sh")
    assert done.returncode == 1 and "share/man/man1/pyexec.1" in done.stderr and files(user.home) == set(), done


def test_another_installations_program_is_not_overwritten(unpacked, user):
    (user.home / "bin").mkdir()
    (user.home / "bin/pyexec").write_text("of another installation")
    done = user("sh", unpacked + "/install.sh", "--prefix=%s" % user.home)
    assert done.returncode == 1 and "did not install it" in done.stderr, done
    assert (user.home / "bin/pyexec").read_text() == "of another installation" and files(user.home) == {"bin/pyexec"}


def test_an_upgrade_removes_what_the_new_version_does_not_have_and_keeps_the_users_files(unpacked, user):
    prefix = user.home / ".local"
    assert user("sh", unpacked + "/install.sh", "--prefix", prefix).returncode == 0
    (prefix / "bin/mine").write_text("the user's own")
    (prefix / "share/pyexec/old").write_text("of an older version")
    with open(prefix / "share/pyexec/installed", "a") as file:
        file.write("share/pyexec/old\n")
    assert user("sh", unpacked + "/install.sh", "--prefix", prefix).returncode == 0
    assert not (prefix / "share/pyexec/old").exists()
    assert user("sh", unpacked + "/install.sh", "--uninstall", "--prefix", prefix).returncode == 0
    assert files(user.home) == {".local/bin/mine"}


def test_a_folder_without_permission_is_named(unpacked, user):
    if user.uid == 0:
        pytest.skip("root may write everywhere")
    done = user("sh", unpacked + "/install.sh", "--prefix", "/usr/share")
    assert done.returncode == 1 and done.stderr == "pyexec: no permission to write below /usr/share; give another folder with --prefix\n"
    done = user("sh", unpacked + "/install.sh", "--uninstall", "--prefix", "/usr/share")
    assert done.returncode == 1 and "did not install pyexec below /usr/share" in done.stderr


def test_the_same_source_gives_the_same_bytes_in_another_folder_at_another_time(tarball, tmp_path):
    """The second build has another folder, umask, time zone, home and language, no git, and a later time."""
    copy = tmp_path / "a folder with a longer name than the first" / "source"
    copy.mkdir(parents=True)
    subprocess.run("tar -C %s --exclude='./build*' --exclude=./.git --exclude=node_modules --exclude=target --exclude=__pycache__ -c . |"
                   " tar -C '%s' -x" % (ROOT, copy), shell=True, check=True)
    date = subprocess.run([ROOT + "/tools/source-date.sh"], capture_output=True, text=True, check=True).stdout.strip()
    again = subprocess.run(["sh", "-c", "umask 077; exec \"$0\" --without-server \"$1\"", str(copy / "tools/tarball.sh"), str(tmp_path / "out")],
                           capture_output=True, text=True, timeout=500, env={
                               **{name: value for name, value in os.environ.items() if name != "PYEXEC_BUNDLE_BUILD"},
                               "SOURCE_DATE_EPOCH": date, "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "LANG": "C.UTF-8"})
    assert again.returncode == 0, again.stderr[-3000:]
    first, second = (hashlib.sha256(open(path, "rb").read()).hexdigest() for path in (tarball, again.stdout.strip()))
    assert first == second, "compare with diffoscope"


def test_nothing_in_it_names_the_machine_that_built_it(unpacked):
    for path in files(unpacked):
        with open(os.path.join(unpacked, path), "rb") as file:
            text = file.read()
        assert ROOT.encode() + b"/" not in text and b"build-bundle" not in text, path


@pytest.fixture(scope="module")
def sbom(tarball):
    done = subprocess.run([ROOT + "/tools/sbom.py", tarball], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_bill_of_materials_is_valid(sbom, tmp_path):
    tool = os.path.join(os.path.dirname(kept("sbom-tools", ROOT + "/tests/support/sbom-requirements.txt")), "pyspdxtools")
    path = tmp_path / "tarball.spdx.json"
    for text in (sbom, sbom.replace('"CC0-1.0"', '"MIT"')):
        path.write_text(text)
        done = subprocess.run([tool, "-i", str(path)], capture_output=True, text=True, timeout=100)
        assert done.returncode == (0 if text is sbom else 1), done.stdout + done.stderr


def test_its_bill_of_materials_has_each_file_and_each_linked_library(sbom, unpacked, tarball):
    facts = json.loads(sbom)
    with open(tarball, "rb") as file:
        assert facts["packages"][0]["checksums"][0]["checksumValue"] == hashlib.sha256(file.read()).hexdigest()
    listed = {row["fileName"].split("/", 2)[2]: row["checksums"][1]["checksumValue"] for row in facts["files"]}
    assert listed == {path: hashlib.sha256(open(os.path.join(unpacked, path), "rb").read()).hexdigest() for path in files(unpacked)}
    linked = {row["name"]: (row["versionInfo"], row["licenseDeclared"]) for row in facts["packages"][1:]}
    for package, name in (("libjansson-dev", "jansson"), ("libc6-dev", "glibc"), ("libedit-dev", "libedit"), ("libevent-dev", "libevent"),
                          ("libc-ares-dev", "c-ares"), ("libssl-dev", "openssl")):
        version = subprocess.run(["dpkg-query", "-W", "-f", "${source:Version}", package], capture_output=True, text=True).stdout
        assert linked[name][0] == version, linked
    assert all(license != "NOASSERTION" for _, license in linked.values())
    assert set(os.listdir(unpacked + "/share/doc/pyexec/licenses")) == set(linked)


def test_its_bill_of_materials_has_no_time_of_day_and_no_path_of_the_machine(sbom):
    assert json.loads(sbom)["creationInfo"]["created"].endswith("T00:00:00Z")
    assert ROOT not in sbom and "/tmp/" not in sbom and "/usr/" not in sbom


def artifacts_of(folder, without, **environment):
    return subprocess.run([ROOT + "/tools/artifacts.sh", str(folder / "artifacts"), str(folder / "build")], capture_output=True, text=True,
                          timeout=400, env={**os.environ, "WITHOUT": without, "CHECK": "", **environment})


def test_all_artifacts_have_a_bill_of_materials_and_a_checksum(tarball, tmp_path):
    done = artifacts_of(tmp_path, "arm64 deb wheels jar npm image server")
    assert done.returncode == 0 and "tarball: made" in done.stdout and "jar: left out" in done.stdout, done
    name = os.path.basename(tarball)
    assert set(os.listdir(tmp_path / "artifacts")) == {name, name + ".spdx.json", "SHA256SUMS"}
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "artifacts").returncode == 0
    assert (tmp_path / "artifacts" / name).read_bytes() == open(tarball, "rb").read()


def test_a_part_that_can_not_be_made_says_why_and_fails_the_whole(tmp_path):
    (tmp_path / "mvn").write_text("#!/bin/sh\necho 'no repository can be reached' >&2\nexit 1\n")
    (tmp_path / "mvn").chmod(0o755)
    done = artifacts_of(tmp_path, "arm64 deb tarball wheels npm image", PATH="%s:%s" % (tmp_path, os.environ["PATH"]))
    assert done.returncode == 1 and "jar: can't be made here:\n    no repository can be reached" in done.stdout, done
    assert "not made: jar. WITHOUT=" in done.stderr
