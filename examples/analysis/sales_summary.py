import pandas as pd

# Load the sales data
df = pd.read_csv("sales.csv", parse_dates=["date"])
print(f"Loaded {len(df)} rows, columns: {list(df.columns)}")
print(df.head())

# Revenue by region
df["revenue"] = df["units"] * df["unit_price"]
summary = (
    df.groupby("region")
    .agg(orders=("revenue", "size"), units=("units", "sum"), revenue=("revenue", "sum"), average=("revenue", "mean"))
    .round(2)
    .sort_values("revenue", ascending=False)
)
summary
