# Asked: do the two groups differ? Normality, t test, Mann-Whitney, bootstrap, effect size.
# Needs: scipy pandas
# Value: 2
import numpy as np
import pandas as pd
from scipy import stats

rng = np.random.default_rng(3)
control, treatment = rng.normal(100, 15, 80), rng.normal(108, 15, 80)

rows = []
for name, test in [("t test", stats.ttest_ind(control, treatment, equal_var=False)), ("Mann-Whitney", stats.mannwhitneyu(control, treatment))]:
    rows.append({"test": name, "statistic": test.statistic, "p": test.pvalue, "significant": test.pvalue < 0.05})
print(pd.DataFrame(rows)[["test", "significant"]].to_string(index=False))
print("normal:", all(stats.shapiro(g).pvalue > 0.05 for g in (control, treatment)))
pooled = np.sqrt((control.var(ddof=1) + treatment.var(ddof=1)) / 2)
print(f"Cohen's d between 0.2 and 1: {0.2 < (treatment.mean() - control.mean()) / pooled < 1}")
boot = stats.bootstrap((treatment, control), lambda a, b, axis=-1: np.mean(a, axis=axis) - np.mean(b, axis=axis), n_resamples=2000, vectorized=True, rng=rng)
print("interval holds no zero:", not (boot.confidence_interval.low <= 0 <= boot.confidence_interval.high))
table = pd.crosstab(rng.choice(["a", "b"], 200), rng.choice(["x", "y", "z"], 200))
chi2, p, dof, expected = stats.chi2_contingency(table)
dof
