# Asked: an inventory in SQLite with products and movements, and the stock of each product.
# Makes: inventory.db
import sqlite3
from contextlib import closing

SCHEMA = """
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL CHECK (price >= 0));
CREATE TABLE movement (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id INTEGER NOT NULL REFERENCES product(id) ON DELETE CASCADE,
    amount INTEGER NOT NULL,
    at TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_movement_product ON movement(product_id);
"""

with closing(sqlite3.connect("inventory.db")) as db:
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    with db:
        db.executemany("INSERT INTO product (name, price) VALUES (?, ?)", [("Widget", 4.5), ("Gadget", 19.99), ("Gizmo", 120)])
        db.executemany("INSERT INTO movement (product_id, amount) VALUES (?, ?)", [(1, 100), (1, -35), (2, 10), (2, -2), (1, 5)])
    try:
        with db:
            db.execute("INSERT INTO movement (product_id, amount) VALUES (99, 1)")
    except sqlite3.IntegrityError as e:
        print("refused:", e)
    query = """
        SELECT p.name, COALESCE(SUM(m.amount), 0) AS stock, ROUND(p.price * COALESCE(SUM(m.amount), 0), 2) AS value
        FROM product p LEFT JOIN movement m ON m.product_id = p.id
        GROUP BY p.id ORDER BY value DESC
    """
    for row in db.execute(query):
        print(f"{row['name']:<8} {row['stock']:>4} {row['value']:>10.2f}")
