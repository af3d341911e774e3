# Asked: use SQL on DataFrames in memory, and write a summary table back.
# Needs: pandas
import sqlite3
import pandas as pd

students = pd.DataFrame({"id": [1, 2, 3], "name": ["Ann", "Bob", "Cy"], "year": [2023, 2024, 2023]})
grades = pd.DataFrame({"student_id": [1, 1, 2, 3, 3, 3], "subject": ["math", "art", "math", "math", "art", "bio"], "grade": [90, 85, 70, 60, 95, 88]})

con = sqlite3.connect(":memory:")
students.to_sql("students", con, index=False)
grades.to_sql("grades", con, index=False, if_exists="replace")

summary = pd.read_sql_query(
    """
    WITH ranked AS (
        SELECT s.name, g.subject, g.grade, RANK() OVER (PARTITION BY g.subject ORDER BY g.grade DESC) AS place
        FROM grades g JOIN students s ON s.id = g.student_id
    )
    SELECT name, GROUP_CONCAT(subject || ':' || place, ' ') AS places, ROUND(AVG(grade), 1) AS mean
    FROM (SELECT * FROM ranked ORDER BY name, subject) GROUP BY name HAVING mean > ?
    """,
    con,
    params=(70,),
)
summary.to_sql("summary", con, index=False)
print(summary.to_string(index=False))
print(con.execute("SELECT COUNT(*) FROM summary").fetchone())
