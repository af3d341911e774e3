# Asked: store JSON documents in SQLite, query fields, full-text search, and a Python function in SQL.
# Input: events.json
import json
import re
import sqlite3
from datetime import datetime, timezone

con = sqlite3.connect(":memory:")
con.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, doc TEXT)")
with open("events.json") as f:
    data = json.load(f)
con.executemany("INSERT INTO events VALUES (?, ?)", [(e["id"], json.dumps(e)) for e in data["events"]])

con.create_function("to_utc", 1, lambda s: datetime.fromisoformat(s.replace("Z", "+00:00")).astimezone(timezone.utc).isoformat())
con.create_function("regexp", 2, lambda pattern, value: bool(re.search(pattern, value or "")))

for row in con.execute("""
        SELECT id, json_extract(doc, '$.type'), to_utc(json_extract(doc, '$.at'))
        FROM events WHERE json_extract(doc, '$.type') REGEXP '^(purchase|refund)$' ORDER BY 3"""):
    print(row)
total, = con.execute("""SELECT ROUND(SUM(json_extract(value, '$.n') * json_extract(value, '$.price')), 2)
                        FROM events, json_each(doc, '$.items')""").fetchone()
print("sold for", total)
con.execute("CREATE VIRTUAL TABLE notes USING fts5(body)")
con.executemany("INSERT INTO notes VALUES (?)", [("The Aurora is back",), ("Storm warning for the harbour",), ("Harbours and boats",)])
print(con.execute("SELECT rowid, highlight(notes, 0, '[', ']') FROM notes WHERE notes MATCH 'harbour*' ORDER BY rowid").fetchall())
