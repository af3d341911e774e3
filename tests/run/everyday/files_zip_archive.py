# Asked: pack text files into a ZIP and a tar.gz, list and verify them, extract one, find duplicates by hash.
# Makes: docs.tar.gz docs.zip docs/a.txt docs/b.txt docs/old/a_copy.txt out/docs/b.txt
import hashlib
import io
import os
import tarfile
import zipfile

os.makedirs("docs/old", exist_ok=True)
for path, text in {"docs/a.txt": "alpha\n" * 100, "docs/b.txt": "beta\n", "docs/old/a_copy.txt": "alpha\n" * 100}.items():
    with open(path, "w") as f:
        f.write(text)

with zipfile.ZipFile("docs.zip", "w", compression=zipfile.ZIP_DEFLATED) as z:
    for root, dirs, files in os.walk("docs"):
        for name in sorted(files):
            z.write(os.path.join(root, name))
    z.writestr("README", "made by a script")
with zipfile.ZipFile("docs.zip") as z:
    print(z.testzip(), sorted(z.namelist()), sum(i.compress_size for i in z.infolist()) < sum(i.file_size for i in z.infolist()))
    z.extract("docs/b.txt", "out")
with tarfile.open("docs.tar.gz", "w:gz") as t:
    t.add("docs", filter=lambda info: None if info.name.endswith("b.txt") else info)
    info = tarfile.TarInfo("note.txt")
    info.size = 4
    t.addfile(info, io.BytesIO(b"note"))
print(sorted(tarfile.open("docs.tar.gz").getnames()))

hashes = {}
for root, _, files in os.walk("docs"):
    for name in files:
        path = os.path.join(root, name)
        with open(path, "rb") as f:
            hashes.setdefault(hashlib.file_digest(f, "md5").hexdigest(), []).append(path)
print([sorted(paths) for paths in hashes.values() if len(paths) > 1], open("out/docs/b.txt").read().strip())
