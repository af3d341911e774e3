import pandas as pd

customers = pd.read_csv("customers.csv")
orders = pd.read_csv("orders.csv")

# Join orders to customers and look for orders without one
merged = orders.merge(customers, on="customer_id", how="left", indicator=True)
orphans = merged[merged["_merge"] == "left_only"]
print(f"{len(orphans)} of {len(orders)} orders have no customer")

by_segment = merged.dropna(subset=["segment"]).groupby("segment", as_index=False)["amount"].agg(["count", "sum", "mean"])
by_segment.to_csv("by_segment.csv", index=False, float_format="%.2f")

top = merged.groupby("name")["amount"].sum().nlargest(5)
top.to_csv("top_customers.csv", float_format="%.2f")
print(top.to_string())
len(orphans)
