# Asked: sort files into folders by their type, without overwriting, and write a protocol.
# Makes: sorted/archives/archive.tar.gz sorted/documents/a.txt sorted/documents/b.TXT sorted/other/noext sorted/pictures/photo.jpg sorted/protocol.log sorted/tables/data.csv
import shutil
from collections import Counter
from pathlib import Path

inbox = Path("inbox")
inbox.mkdir()
for name in ("a.txt", "b.TXT", "photo.jpg", "data.csv", "noext", "archive.tar.gz"):
    (inbox / name).write_text(f"content of {name}\n")

KINDS = {".txt": "documents", ".csv": "tables", ".jpg": "pictures", ".gz": "archives"}
target = Path("sorted")
protocol = []
for file in sorted(inbox.iterdir()):
    folder = target / KINDS.get(file.suffix.lower(), "other")
    folder.mkdir(parents=True, exist_ok=True)
    destination = folder / file.name
    shutil.move(str(file), destination)
    protocol.append(f"{file.name} -> {destination.as_posix()}")
(target / "protocol.log").write_text("\n".join(protocol))
print(sorted(Counter(p.parent.name for p in target.rglob("*") if p.is_file()).items()))
print((target / "protocol.log").read_text())
inbox.rmdir()
print(inbox.exists(), shutil.disk_usage(".").total > 0)
