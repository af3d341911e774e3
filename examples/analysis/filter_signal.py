import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
from scipy.signal import butter, filtfilt

df = pd.read_csv("signal.csv")
fs = 1 / np.median(np.diff(df["t"]))

# Low-pass filter at 20 Hz, without a phase shift
b, a = butter(4, 20, btype="low", fs=fs)
df["filtered"] = filtfilt(b, a, df["v"])

def peaks(x, n=2):
    amplitude = np.abs(np.fft.rfft(x)) * 2 / len(x)
    frequency = np.fft.rfftfreq(len(x), 1 / fs)
    strongest = np.argsort(amplitude)[::-1][:n]
    return {float(frequency[i]): round(float(amplitude[i]), 2) for i in strongest}

fig, axes = plt.subplots(2, 1, figsize=(8, 6), sharex=True)
axes[0].plot(df["t"], df["v"], lw=0.7)
axes[0].set_title("raw")
axes[1].plot(df["t"], df["filtered"], color="orange")
axes[1].set_title("filtered")
axes[1].set_xlabel("time (s)")
fig.savefig("filtered.png")
df.to_csv("filtered.csv", index=False)

peaks(df["v"]), peaks(df["filtered"], 1)
