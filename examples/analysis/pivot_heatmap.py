import pandas as pd
import matplotlib.pyplot as plt

df = pd.read_csv("sales.csv", parse_dates=["date"])
df["revenue"] = df["units"] * df["unit_price"]
df["month"] = df["date"].dt.strftime("%b")
months = pd.date_range("2025-01-01", periods=12, freq="MS").strftime("%b")

pivot = df.pivot_table(index="region", columns="month", values="revenue", aggfunc="sum", fill_value=0)[months]

fig, ax = plt.subplots(figsize=(10, 4))
image = ax.imshow(pivot.values, cmap="viridis", aspect="auto")
ax.set_xticks(range(12), labels=months)
ax.set_yticks(range(len(pivot)), labels=pivot.index)
fig.colorbar(image, label="revenue")
ax.set_title("Revenue by region and month")
plt.tight_layout()
plt.show()

pivot.to_csv("pivot.csv")
float(pivot.values.sum())
