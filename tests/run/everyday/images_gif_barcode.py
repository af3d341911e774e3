# Asked: an animated GIF from frames, then split it again; and a Code 39 barcode drawn by hand.
# Needs: Pillow
# Shows: image/png
# Makes: barcode.png
# Value: <PIL.Image.Image image mode=1 size=400x60
import io
from PIL import Image, ImageDraw, ImageSequence

frames = []
for i in range(8):
    frame = Image.new("P", (80, 80), 0)
    frame.putpalette([0, 0, 0, 255, 255, 0] + [0] * 762)
    ImageDraw.Draw(frame).pieslice((10, 10, 70, 70), i * 5, 360 - i * 5, fill=1)
    frames.append(frame)
buffer = io.BytesIO()
frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
buffer.seek(0)
gif = Image.open(buffer)
print(gif.n_frames, gif.info["duration"], len([f.copy() for f in ImageSequence.Iterator(gif)]))

CODE39 = {"A": "W N N N N W N N W N", "1": "W N N W N N N N W N", "*": "N W N N W N W N N N"}
image = Image.new("1", (400, 60), 1)
draw, x = ImageDraw.Draw(image), 10
for char in "*A1*":
    for position, width in enumerate(CODE39[char].split()):
        w = 6 if width == "W" else 2
        if position % 2 == 0:
            draw.rectangle((x, 5, x + w - 1, 55), fill=0)
        x += w
image.save("barcode.png")
print(image.size, image.getbbox() is not None)
image
