# Asked: which country brings the most revenue? Join orders.csv with customers.json.
# Input: orders.csv customers.json
# Needs: pandas
# Shows: text/html
# Value: country  orders  revenue
import json
import pandas as pd

orders = pd.read_csv("orders.csv").drop_duplicates(subset="order_id")
with open("customers.json", encoding="utf-8") as f:
    customers = pd.json_normalize(json.load(f))

merged = orders.merge(customers[["name", "country", "contact.email"]], left_on="customer", right_on="name", how="left", validate="many_to_one")
merged["revenue"] = merged["quantity"].fillna(0) * merged["unit_price"]

by_country = (merged.groupby("country", as_index=False)
              .agg(orders=("order_id", "count"), revenue=("revenue", "sum"))
              .sort_values("revenue", ascending=False)
              .reset_index(drop=True))
print("Unmatched customers:", merged["name"].isna().sum())
by_country
