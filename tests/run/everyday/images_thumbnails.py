# Asked: make a test picture, thumbnails in three sizes, a grey version and a contact sheet.
# Needs: Pillow
# Shows: image/png
# Makes: grey.png photo.jpg sheet.webp thumbs/photo_128.png thumbs/photo_256.png thumbs/photo_64.png
# Value: <PIL.Image.Image image mode=RGB size=390x110
import os
from PIL import Image, ImageDraw, ImageOps

image = Image.new("RGB", (640, 480))
pixels = image.load()
for x in range(640):
    for y in range(0, 480, 8):
        for dy in range(8):
            pixels[x, y + dy] = (x * 255 // 640, y * 255 // 480, 128)
draw = ImageDraw.Draw(image)
draw.ellipse((220, 140, 420, 340), fill="white", outline="black", width=4)
draw.text((280, 230), "Hello", fill="black")
image.save("photo.jpg", quality=90)

os.makedirs("thumbs", exist_ok=True)
for size in (64, 128, 256):
    with Image.open("photo.jpg") as original:
        original.thumbnail((size, size), Image.Resampling.LANCZOS)
        original.save(f"thumbs/photo_{size}.png")
        print(size, original.size, original.mode)

ImageOps.grayscale(image).save("grey.png")
sheet = Image.new("RGB", (3 * 130, 110), "white")
for i in range(3):
    thumb = ImageOps.fit(image, (120, 90)).rotate(90 * i)
    sheet.paste(thumb, (5 + i * 130, 10))
sheet.save("sheet.webp")
print(sorted(os.listdir("thumbs")), Image.open("sheet.webp").format)
sheet
