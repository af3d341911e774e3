# Asked: simulate an SIR epidemic with an ODE solver and show the peak in a plot.
# Needs: scipy matplotlib
# Shows: image/png
import numpy as np
import matplotlib.pyplot as plt
from scipy.integrate import solve_ivp

N, beta, gamma = 10_000, 0.4, 0.1


def sir(t, y):
    S, I, R = y
    new = beta * S * I / N
    return [-new, new - gamma * I, gamma * I]


solution = solve_ivp(sir, (0, 120), [N - 10, 10, 0], t_eval=np.arange(121), rtol=1e-8)
S, I, R = solution.y
peak = I.argmax()
for values, name in zip((S, I, R), ("susceptible", "infected", "recovered")):
    plt.plot(solution.t, values, label=name)
plt.axvline(peak, color="grey", ls=":")
plt.legend()
plt.title(f"Peak on day {peak}")
plt.show()
print(f"peak: day {peak}, {I[peak]:.0f} infected; never infected: {S[-1]:.0f}; sum kept: {np.allclose(S + I + R, N)}")
