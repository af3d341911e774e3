# Asked: a bar chart of revenue by month and a pie by region, side by side, saved as PNG.
# Input: orders.csv
# Needs: pandas matplotlib
# Shows: image/png
# Makes: orders.png
import matplotlib.pyplot as plt
import matplotlib.ticker as mticker
import pandas as pd

df = pd.read_csv("orders.csv", parse_dates=["date"]).drop_duplicates().dropna()
df["revenue"] = df["quantity"] * df["unit_price"]
monthly = df.groupby(df["date"].dt.strftime("%b"), sort=False)["revenue"].sum()
regions = df.groupby("region")["revenue"].sum()

plt.style.use("seaborn-v0_8-whitegrid")
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
bars = left.bar(monthly.index, monthly.values, color=plt.cm.viridis([0.2, 0.5, 0.8]), edgecolor="black")
left.bar_label(bars, fmt="%.0f €", padding=3)
left.set_title("Revenue by month", fontweight="bold")
left.yaxis.set_major_formatter(mticker.StrMethodFormatter("{x:,.0f} €"))
left.set_xlabel("Month")
right.pie(regions, labels=regions.index, autopct="%1.1f%%", startangle=90, explode=[0.05] * len(regions))
right.set_title("Share of regions")
fig.suptitle("Orders 2025")
plt.tight_layout()
plt.savefig("orders.png", dpi=150, bbox_inches="tight")
plt.show()
print("saved orders.png")
