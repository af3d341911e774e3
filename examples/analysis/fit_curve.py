import numpy as np
import pandas as pd
from scipy.optimize import curve_fit, minimize

df = pd.read_csv("decay.csv")

def model(t, amplitude, rate, offset):
    return amplitude * np.exp(-rate * t) + offset

params, covariance = curve_fit(model, df["t"], df["y"], p0=[1, 1, 0])
errors = np.sqrt(np.diag(covariance))
for name, value, error in zip(["amplitude", "rate", "offset"], params, errors):
    print(f"{name:10s} {value:.3f} ± {error:.3f}")

# Cross-check with a general optimiser on the squared error
result = minimize(lambda p: np.sum((df["y"] - model(df["t"], *p)) ** 2), x0=[1, 1, 0], method="Nelder-Mead")
print("converged:", result.success)
assert np.allclose(result.x, params, atol=1e-2)

params.round(3)
