# Asked: the dominant colours and a histogram of a generated picture; blur, edges, brightness.
# Needs: Pillow numpy
# Value: 10400
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageStat

array = np.zeros((120, 200, 3), dtype=np.uint8)
array[:, :100] = (200, 30, 30)
array[:, 100:] = (30, 30, 200)
array[40:80, 60:140] = (240, 240, 60)
image = Image.fromarray(array)

colours = image.quantize(colors=4).convert("RGB").getcolors()
for count, colour in sorted(colours, reverse=True)[:3]:
    print("#%02x%02x%02x %.0f%%" % (*colour, 100 * count / (image.width * image.height)))
stat = ImageStat.Stat(image)
print("mean:", [round(m) for m in stat.mean], "extrema:", stat.extrema)
edges = image.convert("L").filter(ImageFilter.FIND_EDGES)
blurred = image.filter(ImageFilter.GaussianBlur(3))
bright = ImageEnhance.Brightness(image).enhance(1.5)
print("edges found:", np.asarray(edges).max() > 100, "softer:", len(blurred.getcolors(30000)) > len(image.getcolors()))
print("brighter:", np.asarray(bright).mean() > array.mean(), image.crop((60, 40, 140, 80)).getcolors())
image.histogram()[30]
