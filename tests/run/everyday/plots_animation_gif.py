# Asked: an animated GIF of a travelling wave, and its last frame as PNG.
# Needs: matplotlib Pillow
# Makes: last.png wave.gif
import os
import numpy as np
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter

fig, ax = plt.subplots(figsize=(4, 2))
x = np.linspace(0, 4 * np.pi, 200)
(line,) = ax.plot(x, np.sin(x))
ax.set_ylim(-1.2, 1.2)


def update(frame):
    line.set_ydata(np.sin(x - frame / 3))
    ax.set_title(f"frame {frame}")
    return (line,)


animation = FuncAnimation(fig, update, frames=12, interval=80)
animation.save("wave.gif", writer=PillowWriter(fps=12), dpi=60)
fig.savefig("last.png")
plt.close()
print(all(os.path.getsize(name) > 1000 for name in ("wave.gif", "last.png")))
