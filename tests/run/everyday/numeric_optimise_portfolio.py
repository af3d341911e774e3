# Asked: minimise the risk of a portfolio with constraints; a linear programme; a curve fit.
# Needs: scipy
import numpy as np
from scipy.optimize import curve_fit, linprog, minimize

mean = np.array([0.08, 0.12, 0.05])
cov = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.0], [0.0, 0.0, 0.01]])
result = minimize(lambda w: w @ cov @ w, x0=np.ones(3) / 3, method="SLSQP", bounds=[(0, 1)] * 3,
                  constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}, {"type": "ineq", "fun": lambda w: w @ mean - 0.08}])
print("success:", result.success, "weights:", np.round(result.x, 2), "return: %.3f" % (result.x @ mean))

lp = linprog(c=[-3, -5], A_ub=[[1, 0], [0, 2], [3, 2]], b_ub=[4, 12, 18], method="highs")
print("optimum:", -lp.fun, lp.x)

x = np.linspace(0, 4, 50)
y = 2.5 * np.exp(-1.3 * x) + 0.5 + np.random.default_rng(0).normal(0, 0.02, x.size)
params, covariance = curve_fit(lambda x, a, b, c: a * np.exp(-b * x) + c, x, y, p0=(1, 1, 1))
print("fit:", np.round(params, 1), "errors below 0.1:", bool((np.sqrt(np.diag(covariance)) < 0.1).all()))
