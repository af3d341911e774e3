# Asked: the orders of each customer as a Markdown table for the wiki.
# Input: orders.csv
# Needs: pandas tabulate
# Makes: customers.md
import pandas as pd

df = pd.read_csv("orders.csv").drop_duplicates()
summary = df.groupby("customer").agg(
    orders=("order_id", "nunique"),
    first=("date", "min"),
    last=("date", "max"),
)
markdown = summary.to_markdown()
print(markdown)

with open("customers.md", "w") as f:
    f.write("# Customers\n\n" + markdown + "\n")
