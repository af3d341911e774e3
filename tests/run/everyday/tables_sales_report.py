# Asked: a monthly and regional sales report from orders.csv, as a new CSV file.
# Input: orders.csv
# Needs: pandas
# Makes: sales_report.csv
import pandas as pd

df = pd.read_csv("orders.csv", parse_dates=["date"])
df = df.drop_duplicates().dropna(subset=["quantity"])
df["revenue"] = df["quantity"] * df["unit_price"]
df["month"] = df["date"].dt.to_period("M").astype(str)

report = df.pivot_table(index="region", columns="month", values="revenue", aggfunc="sum", fill_value=0, margins=True, margins_name="Total")
report.round(2).to_csv("sales_report.csv")

print("Sales report")
print("=" * 40)
print(report.round(2).to_string())
best = df.groupby("product")["revenue"].sum().idxmax()
print(f"\nBest product: {best}")
