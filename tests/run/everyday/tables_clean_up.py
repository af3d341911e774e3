# Asked: find the problems in orders.csv (duplicates, missing values, outliers) and save a clean version.
# Input: orders.csv
# Needs: pandas numpy
# Makes: orders_clean.csv
import numpy as np
import pandas as pd

df = pd.read_csv("orders.csv")
print(df.dtypes)
print()
df.info(memory_usage=False)
print("\nMissing values:")
print(df.isnull().sum()[lambda s: s > 0])

duplicates = df[df.duplicated(keep="first")]
print(f"\n{len(duplicates)} duplicate row(s): {duplicates['order_id'].tolist()}")

clean = df.drop_duplicates().copy()
clean["quantity"] = clean.groupby("product")["quantity"].transform(lambda s: s.fillna(s.median())).astype(int)

q1, q3 = np.percentile(clean["quantity"], [25, 75])
limit = q3 + 1.5 * (q3 - q1)
outliers = clean.loc[clean["quantity"] > limit, ["order_id", "quantity"]]
print(f"Outliers above {limit:.1f}:")
print(outliers.to_string(index=False))

clean.to_csv("orders_clean.csv", index=False)
print(f"\nSaved {len(clean)} rows to orders_clean.csv")
