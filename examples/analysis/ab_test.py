import pandas as pd
from scipy import stats

df = pd.read_csv("ab_test.csv")

# Conversion: chi-squared test of independence
table = pd.crosstab(df["group"], df["converted"])
chi2, p_conversion, dof, expected = stats.chi2_contingency(table)

# Time on page: Welch's t-test
a = df.loc[df["group"] == "A", "seconds"]
b = df.loc[df["group"] == "B", "seconds"]
t, p_time = stats.ttest_ind(a, b, equal_var=False)

print(table)
print(f"chi2={chi2:.3f} (dof {dof}), p={p_conversion:.4f}")
print(f"t={t:.3f}, p={p_time:.6f}")

{
    "rate": df.groupby("group")["converted"].mean().to_dict(),
    "p_conversion": float(p_conversion),
    "p_time": float(p_time),
    "significant": bool(p_conversion < 0.05 and p_time < 0.05),
}
