# Asked: load orders.csv into SQLite and answer three questions with SQL.
# Input: orders.csv
# Makes: orders.db
import csv
import os
import sqlite3

if os.path.exists("orders.db"):
    os.remove("orders.db")
conn = sqlite3.connect("orders.db")
cur = conn.cursor()
cur.execute("CREATE TABLE orders (order_id INT PRIMARY KEY, date TEXT, customer TEXT, region TEXT, product TEXT, quantity INT, unit_price REAL)")
with open("orders.csv", newline="") as f:
    rows = [tuple(v or None for v in r.values()) for r in csv.DictReader(f)]
cur.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
conn.commit()
print("rows:", cur.execute("SELECT COUNT(*) FROM orders").fetchone()[0], "of", len(rows))

questions = {
    "Revenue by region": "SELECT region, ROUND(SUM(quantity * unit_price), 2) FROM orders GROUP BY region ORDER BY 2 DESC",
    "Best month": "SELECT strftime('%Y-%m', date) AS month, SUM(quantity) FROM orders GROUP BY month ORDER BY 2 DESC LIMIT 1",
    "Running total": """SELECT order_id, SUM(quantity) OVER (ORDER BY date ROWS UNBOUNDED PRECEDING)
                        FROM orders WHERE product = 'Widget'""",
}
for title, sql in questions.items():
    print(f"\n{title}:")
    for row in cur.execute(sql):
        print("  ", *row, sep="\t")
conn.close()
