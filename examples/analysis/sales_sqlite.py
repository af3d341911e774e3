import sqlite3

import pandas as pd

df = pd.read_csv("sales.csv")
conn = sqlite3.connect(":memory:")
df.to_sql("sales", conn, index=False)

query = """
    SELECT product,
           SUM(units) AS units,
           ROUND(SUM(units * unit_price), 2) AS revenue,
           RANK() OVER (ORDER BY SUM(units * unit_price) DESC) AS place
    FROM sales
    WHERE date >= '2025-07-01'
    GROUP BY product
    HAVING SUM(units) > 10
    ORDER BY place
"""
result = pd.read_sql_query(query, conn)
conn.close()
print(result.to_string(index=False))
result
