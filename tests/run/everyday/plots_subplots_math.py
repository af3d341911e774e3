# Asked: plot four functions with LaTeX labels in a 2x2 grid, and a contour and a 3D surface.
# Needs: matplotlib
# Shows: image/png image/png
import numpy as np
import matplotlib.pyplot as plt

x = np.linspace(-2 * np.pi, 2 * np.pi, 400)
functions = {
    r"$\sin(x)$": np.sin(x),
    r"$e^{-x^2/4}$": np.exp(-x**2 / 4),
    r"$\frac{\sin x}{x}$": np.sinc(x / np.pi),
    r"$\sqrt{|x|}$": np.sqrt(np.abs(x)),
}
fig, axs = plt.subplots(2, 2, sharex=True, figsize=(8, 6), constrained_layout=True)
for ax, (label, y) in zip(axs.flat, functions.items()):
    ax.plot(x, y)
    ax.set_title(label)
    ax.grid(True, linestyle="--", alpha=0.5)
    ax.axhline(0, color="k", lw=0.5)
plt.show()

X, Y = np.meshgrid(np.linspace(-3, 3, 60), np.linspace(-3, 3, 60))
Z = np.sin(X) * np.cos(Y) * np.exp(-(X**2 + Y**2) / 10)
fig = plt.figure(figsize=(10, 4))
ax = fig.add_subplot(1, 2, 1)
c = ax.contourf(X, Y, Z, levels=15, cmap="RdBu")
fig.colorbar(c, ax=ax)
ax = fig.add_subplot(1, 2, 2, projection="3d")
ax.plot_surface(X, Y, Z, cmap="viridis")
plt.show()
