# Asked: put a half transparent watermark with a big font on a picture and read the EXIF data back.
# Needs: Pillow
# Makes: watermarked.jpg
from PIL import Image, ImageDraw, ImageFont

base = Image.new("RGBA", (400, 200), (70, 130, 180, 255))
layer = Image.new("RGBA", base.size, (0, 0, 0, 0))
draw = ImageDraw.Draw(layer)
try:
    font = ImageFont.truetype("arial.ttf", 40)
except OSError:
    font = ImageFont.load_default(size=40)
text = "© Example 2025"
left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
position = ((base.width - (right - left)) // 2, (base.height - (bottom - top)) // 2)
draw.text(position, text, font=font, fill=(255, 255, 255, 128))
result = Image.alpha_composite(base, layer.rotate(15)).convert("RGB")

exif = Image.Exif()
exif[0x010E] = "A watermark"
exif[0x0131] = "Python"
result.save("watermarked.jpg", exif=exif, quality=95, dpi=(300, 300))
with Image.open("watermarked.jpg") as saved:
    print(saved.size, saved.info["dpi"], dict(saved.getexif()))
print("text drawn:", len(result.getcolors(maxcolors=100_000)) > 10)
