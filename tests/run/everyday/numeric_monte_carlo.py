# Asked: estimate pi and the price of a European option by simulation, with confidence intervals.
# Needs: scipy
import math
import time
import numpy as np
from scipy import stats

rng = np.random.default_rng(2025)
n = 400_000
start = time.time()
inside = (rng.random((n, 2)) ** 2).sum(axis=1) <= 1
pi, error = 4 * inside.mean(), 4 * inside.std() / math.sqrt(n) * 1.96
print(f"pi = {pi:.4f} +- {error:.4f}: {'ok' if abs(pi - math.pi) < 2 * error else 'off'}")

S0, K, r, sigma, T = 100, 105, 0.03, 0.2, 1.0
z = rng.standard_normal(n)
ST = S0 * np.exp((r - sigma**2 / 2) * T + sigma * math.sqrt(T) * z)
payoff = np.exp(-r * T) * np.maximum(ST - K, 0)
low, high = stats.norm.interval(0.999, loc=payoff.mean(), scale=stats.sem(payoff))
d1 = (math.log(S0 / K) + (r + sigma**2 / 2) * T) / (sigma * math.sqrt(T))
exact = S0 * stats.norm.cdf(d1) - K * math.exp(-r * T) * stats.norm.cdf(d1 - sigma * math.sqrt(T))
print(f"Black-Scholes {exact:.3f} is {'inside' if low < exact < high else 'outside'} the interval")
print(f"finished: {time.time() - start < 60}")
