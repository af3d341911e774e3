import numpy as np
import pandas as pd

raw = pd.read_csv("survey.csv", na_values=["n/a", "unknown"])
print(raw.isna().sum())

df = raw.drop_duplicates().copy()
df["city"] = df["city"].str.strip().str.title()
df["income"] = df["income"].str.replace(r"[$,]", "", regex=True).astype(float)
df["member"] = df["member"].str.lower().map({"yes": True, "no": False})
df["age"] = df["age"].fillna(df["age"].median()).astype(int)
df["income"] = df["income"].fillna(df.groupby("city")["income"].transform("median"))
df["age_group"] = pd.cut(df["age"], bins=[0, 30, 50, np.inf], labels=["<=30", "31-50", ">50"])

assert df.notna().all().all()
df.to_csv("survey_clean.csv", index=False)
print(f"{len(raw)} rows -> {len(df)} rows")
df.groupby("city")["income"].mean().round().to_dict()
