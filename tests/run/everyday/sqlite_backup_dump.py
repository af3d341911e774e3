# Asked: dump a database as SQL text, restore it under another name, compare both.
# Makes: */copy.db */restored.db */source.db
import hashlib
import sqlite3
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
source = sqlite3.connect(folder / "source.db")
source.executescript("CREATE TABLE t (a INTEGER, b TEXT); CREATE VIEW v AS SELECT a * 2 AS twice FROM t;")
with source:
    source.executemany("INSERT INTO t VALUES (?, ?)", ((i, f"it's {i}") for i in range(5)))

sql = "\n".join(source.iterdump())
restored = sqlite3.connect(folder / "restored.db")
restored.executescript(sql)
copy = sqlite3.connect(folder / "copy.db")
source.backup(copy)


def digest(db):
    return hashlib.sha256("\n".join(db.iterdump()).encode()).hexdigest()[:12]


print(sorted(p.name for p in folder.glob("*.db")))
print(digest(source) == digest(restored) == digest(copy), restored.execute("SELECT SUM(twice) FROM v").fetchone())
