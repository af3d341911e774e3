# Asked: running totals, month-over-month growth and a ranking of the orders.
# Input: orders.csv
# Needs: pandas
# Value: {'small': 4, 'medium': 3, 'large': 3}
import pandas as pd

df = (pd.read_csv("orders.csv", parse_dates=["date"])
        .drop_duplicates()
        .assign(revenue=lambda d: d["quantity"].fillna(0) * d["unit_price"])
        .set_index("date")
        .sort_index())

monthly = df["revenue"].resample("ME").sum().to_frame("revenue")
monthly["growth_pct"] = (monthly["revenue"].pct_change() * 100).round(1)
monthly["running_total"] = monthly["revenue"].cumsum()
monthly.index = monthly.index.strftime("%b %Y")
print(monthly)

df["rank"] = df["revenue"].rank(ascending=False, method="dense").astype(int)
df["rolling_3"] = df["revenue"].rolling(3, min_periods=1).mean().round(2)
top = df.nsmallest(3, "rank")[["order_id", "customer", "revenue", "rank"]]
print()
print(top.to_string())
df["segment"] = pd.cut(df["revenue"], bins=[-1, 50, 150, float("inf")], labels=["small", "medium", "large"])
df["segment"].value_counts().to_dict()
