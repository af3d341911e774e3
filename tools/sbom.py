#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the bill of materials of an artifact as SPDX 2.3 JSON.

    tools/sbom.py ARTIFACT [--name NAME] [--bundle BUILD] [--licenses FOLDER]

ARTIFACT is a folder, a tarball, a Debian package, an OCI archive (.oci.tar), or a zip file (wheel, jar). Listed are its files with their SHA-256, and what
others made in them: libraries that are linked into our static programs (from the linker's maps in BUILD, the build folder of
tools/bundle.sh, default build-bundle, with -server and with -MACHINE for another architecture), libraries beside the program in a wheel, the npm packages of the
playground in the server (the versions of
web/package-lock.json, if the file has their license text), Maven's pom.properties, and the packages of a Debian file tree.
`--licenses` writes the license texts of the linked libraries into a new folder. The date in it is the source's
(tools/source-date.sh), so the same artifact gives the same text.
"""
import argparse
import datetime
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUESTS = ("pyexec_guest.abi3.so", "pyexec_guest_musl.abi3.so")
MACHINES = {b"\x3e\0": "x86_64", b"\xb7\0": "aarch64"}        # of the header of an ELF file
OF_SERVER = ("pyexec-mcp-http", "pyexec-otlp")
OURS = ("pyexec", "pyexec-launch", "pyexec-egress", *OF_SERVER, *GUESTS)
# The licenses of Debian's source packages of which something can be linked into the program. The texts of Debian are longer:
# they are about all files of the source.
LICENSES = {
    "c-ares": "MIT",
    "curl": "curl",
    "glibc": "LGPL-2.1-or-later",
    "gcc-12": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "gcc-12-cross": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "jansson": "MIT",
    "libarchive": "BSD-2-Clause",
    "libbsd": "BSD-3-Clause",
    "libedit": "BSD-3-Clause",
    "libevent": "BSD-3-Clause",
    "libmd": "BSD-3-Clause",
    "libmicrohttpd": "LGPL-2.1-or-later",
    "musl": "MIT",
    "ncurses": "X11",
    "openssl": "Apache-2.0",
}
# The libraries that lie beside the program in the wheel with the server (tools/old-libc.sh): the start of the file's name → Debian's package and
# the license.
BESIDE = {
    "libarchive": ("libarchive", "BSD-2-Clause"),
    "libbsd": ("libbsd0", "BSD-3-Clause"),
    "libcrypto": ("openssl", "Apache-2.0"),
    "libcurl": ("curl", "curl"),
    "libedit": ("libedit2", "BSD-3-Clause"),
    "libjansson": ("libjansson4", "MIT"),
    "libmd": ("libmd0", "BSD-3-Clause"),
    "libmicrohttpd": ("libmicrohttpd", "LGPL-2.1-or-later"),
    "libssl": ("openssl", "Apache-2.0"),
    "libtinfo": ("libtinfo6", "X11"),
}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def version_of_source():
    with open(os.path.join(ROOT, "meson.build")) as file:
        return re.search(r"^  version: '(.+)',$", file.read(), re.M)[1]


# ---- The files of an artifact ----

def _tar(file, below=""):
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            if member.isfile():
                yield below + os.path.normpath(member.name), archive.extractfile(member).read()


def contents(path):
    """Yields name and content of each regular file of the artifact."""
    if os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in names:
                full = os.path.join(folder, name)
                if os.path.isfile(full) and not os.path.islink(full):
                    with open(full, "rb") as file:
                        yield os.path.relpath(full, path), file.read()
    elif path.endswith(".deb"):
        yield from _tar(io.BytesIO(subprocess.run(["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True).stdout))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, archive.read(entry)
    elif path.endswith(".oci.tar"):     # the files of all layers; a later layer replaces those of an earlier one
        found = {}
        with open(path, "rb") as file:
            for _, content in _tar(file):
                if content[:2] == b"\x1f\x8b" or content[257:262] == b"ustar":
                    found.update(_tar(io.BytesIO(content)))
        yield from found.items()
    else:
        with open(path, "rb") as file:
            yield from _tar(file)


# ---- What others made in them ----

def linked_files(link_map, folder, tree):
    """Returns the archives and objects of the system that the linker put into a file, from its map."""
    with open(link_map) as file:
        text = file.read()
    found = set(re.findall(r"^(/\S+\.a)\(\S+\)$", text.split("\nMemory Configuration\n")[0], re.M))
    found |= set(re.findall(r"^LOAD (/\S+\.o)$", text, re.M))
    return {path for path in map(os.path.realpath, found)
            if path.startswith(tree) or os.path.exists(path + ".source") or not path.startswith((os.path.realpath(folder) + "/", ROOT + "/"))}


def owners(paths, database, root=""):
    """Returns path → Debian's package, its source package, the version of that, its licence. `root`: the tree of the database and the paths."""
    if not paths:
        return {}
    lines = output("dpkg-query", "--admindir=" + database, "-S", *(path[len(root):] for path in sorted(paths))).splitlines()
    binaries = {root + path: names.split(",")[0] for names, path in (line.split(": ", 1) for line in lines)}
    names = sorted(set(binaries.values()))
    facts = dict(zip(names, output("dpkg-query", "--admindir=" + database, "-W", "-f", "${source:Package} ${source:Version}\n", *names).splitlines()))
    return {path: (*facts[name].split(), "%s/usr/share/doc/%s/copyright" % (root, name.split(":")[0])) for path, name in binaries.items()}


def linked(folder, names, texts=None):
    """Returns the Debian source packages that are linked into these programs: name, version, license."""
    used = {}           # path → the program that it is linked into
    tree = os.path.realpath(os.environ.get("PYEXEC_ARM64", os.path.join(ROOT, "build", "arm64"))) + "/tree"
    for name in names:
        link_map = os.path.join(folder, name + ".map")
        if not os.path.exists(link_map):
            sys.exit("pyexec: there is no %s: run tools/bundle.sh first" % link_map)
        used.update((path, name) for path in linked_files(link_map, folder, tree + "/"))
    built = {path for path in used if os.path.exists(path + ".source")}         # by tools/static-libraries.sh
    cross = {path for path in used if path.startswith(tree + "/")} - built      # from the tree of another architecture
    facts = {**owners(set(used) - cross - built, "/var/lib/dpkg"), **owners(cross, tree + "/var/lib/dpkg", tree)}
    for path in built:
        with open(path + ".source") as file:
            facts[path] = (*file.read().split(), path + ".licence")
    packages = {}
    for path, (source, version, copyright) in facts.items():
        if source not in LICENSES:
            sys.exit("pyexec: %s of Debian's source package %s is linked into %s: add its license to LICENSES in tools/sbom.py"
                     % (path, source, used[path]))
        packages[source] = (version, LICENSES[source])
        if texts:
            os.makedirs(texts, exist_ok=True)
            shutil.copy(copyright, os.path.join(texts, source))
    return [component(name, version, license, "pkg:deb/debian/%s@%s?arch=source" % (name, version))
            for name, (version, license) in packages.items()]


def libraries_beside(files):
    """Returns the packages of the shared libraries in a wheel. Its libraries.txt has a line for each package: name, version, (origin)."""
    lines = [line for name, content in files if name.endswith("/licenses/libraries/libraries.txt") for line in content.decode().splitlines()]
    versions = {line.split()[0]: line.split()[1:] for line in lines}
    for name in (os.path.basename(name) for name, _ in files if os.path.dirname(name).endswith(".libs")):
        package, license = BESIDE.get(re.match("[a-z]*", name)[0], ("", ""))
        if package not in versions:
            sys.exit("pyexec: the library %s is in the wheel, but its package is not known: add it to BESIDE in tools/sbom.py and to libraries.txt in "
                     "tools/old-libc.sh" % name)
        version, *origin = versions[package]
        yield component(package, version, license, "pkg:deb/debian/%s@%s%s" % (package, version, "?arch=source" if "source" in origin else ""))


def npm_packages(content):
    """Returns the packages of npm whose license texts are in this file (web/build.mjs puts those of the bundled packages there)."""
    with open(os.path.join(ROOT, "web", "package-lock.json")) as file:
        lock = json.load(file)["packages"]
    for path, row in lock.items():
        name = path.split("node_modules/")[-1]
        if name and ("%s %s\n\n" % (name, row["version"])).encode() in content:
            yield component(name, row["version"], row["license"], "pkg:npm/%s@%s" % (name.replace("@", "%40"), row["version"]))


def maven_artifact(content):
    facts = dict(line.split("=", 1) for line in content.decode().splitlines() if "=" in line)
    return component(facts["groupId"] + ":" + facts["artifactId"], facts["version"], "NOASSERTION",
                     "pkg:maven/%(groupId)s/%(artifactId)s@%(version)s" % facts)


def debian_packages(status):
    """Returns the packages that a file tree's var/lib/dpkg/status lists as installed."""
    for entry in status.decode().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.+)$", entry, re.M))
        if fields.get("Status", "").endswith(" installed"):
            yield component(fields["Package"], fields["Version"], "NOASSERTION",
                            "pkg:deb/debian/%(Package)s@%(Version)s?arch=%(Architecture)s" % fields)


def component(name, version, license, url):
    return {"name": name, "version": version, "license": license, "url": url}


def components(files, folder, texts):
    """Returns the components of other projects in these files, sorted, each once."""
    static = {}         # architecture → names
    for name, content in files:
        if os.path.basename(name) in OURS and (is_static(content) or name.endswith(".abi3.so")):
            static.setdefault(MACHINES.get(content[18:20]), set()).add(os.path.basename(name))
    found = []
    for machine, names in static.items():
        if names - set(GUESTS):
            build = folder + "-server" * bool(names & set(OF_SERVER)) + ("" if machine == platform.machine() else "-" + machine)
            found += linked(build, sorted(names), texts)
    found += libraries_beside(files)
    for name, content in files:
        if os.path.basename(name) in ("pyexec", "pyexec_serve.so"):
            found += npm_packages(content)
        elif name.endswith("/pom.properties") and b"pyexecutor" not in content:
            found.append(maven_artifact(content))
        elif name == "var/lib/dpkg/status":
            found += debian_packages(content)
    return sorted({row["url"]: row for row in found}.values(), key=lambda row: row["url"])


def is_static(content):
    """True for an ELF program that names no interpreter, so that nothing is loaded with it."""
    if content[:5] != b"\x7fELF\x02" or content[16:18] not in (b"\x02\0", b"\x03\0"):
        return False
    start, size, count = (int.from_bytes(content[at:at + length], "little") for at, length in ((32, 8), (54, 2), (56, 2)))
    return all(content[start + i * size:start + i * size + 4] != b"\x03\0\0\0" for i in range(count))


# ---- The document ----

def package(name, version, license, identifier, **more):
    return {"SPDXID": identifier, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": license, "copyrightText": "NOASSERTION", **more}


def document(name, files, parts, digest):
    version, main = version_of_source(), "SPDXRef-artifact"
    day = datetime.datetime.fromtimestamp(int(output(os.path.join(ROOT, "tools", "source-date.sh"))), datetime.timezone.utc)
    # The format's sum over the files of a package: the SHA-1 of their sorted SHA-1s.
    sums = "".join(sorted(hashlib.sha1(content).hexdigest() for _, content in files))
    analyzed = {"filesAnalyzed": True, "licenseInfoFromFiles": ["NOASSERTION"], "packageVerificationCode": {
        "packageVerificationCodeValue": hashlib.sha1(sums.encode()).hexdigest()}}
    packages = [package(name, version, "Apache-2.0", main, supplier="Organization: pyexec maintainers", **analyzed,
                        **({"checksums": [{"algorithm": "SHA256", "checksumValue": digest}]} if digest else {}))]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", main)]
    for i, part in enumerate(parts):
        packages.append(package(part["name"], part["version"], part["license"], "SPDXRef-part-%d" % i, externalRefs=[
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part["url"]}]))
        relations.append((main, "CONTAINS", "SPDXRef-part-%d" % i))
    listed = []
    for i, (path, content) in enumerate(files):
        listed.append({"SPDXID": "SPDXRef-file-%d" % i, "fileName": "./" + path, "licenseConcluded": "NOASSERTION",
                       "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION", "checksums": [
                           {"algorithm": "SHA1", "checksumValue": hashlib.sha1(content).hexdigest()},
                           {"algorithm": "SHA256", "checksumValue": hashlib.sha256(content).hexdigest()}]})
        relations.append((main, "CONTAINS", "SPDXRef-file-%d" % i))
    text = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
            "creationInfo": {"created": day.strftime("%Y-%m-%dT00:00:00Z"), "creators": ["Tool: pyexec-sbom-" + version]},
            "packages": packages, "files": listed, "relationships": [
                {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other} for one, kind, other in relations]}
    # A name of its own for each content, as the format asks.
    text["documentNamespace"] = "urn:uuid:%s" % uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(text, sort_keys=True))
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artifact")
    parser.add_argument("--name")
    parser.add_argument("--bundle", default=os.environ.get("PYEXEC_BUNDLE_BUILD", os.path.join(ROOT, "build-bundle")))
    parser.add_argument("--licenses")
    given = parser.parse_args()
    files = sorted(contents(given.artifact))
    digest = None
    if os.path.isfile(given.artifact):
        with open(given.artifact, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    name = given.name or os.path.basename(os.path.abspath(given.artifact))
    json.dump(document(name, files, components(files, given.bundle, given.licenses), digest), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
