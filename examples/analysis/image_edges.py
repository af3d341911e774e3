import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_image

china = load_sample_image("china.jpg")
print("shape:", china.shape, "dtype:", china.dtype)

image = Image.fromarray(china)
image.thumbnail((320, 320))
gray = np.asarray(image.convert("L"), dtype=float)

# Sobel edges
edges = np.hypot(ndimage.sobel(gray, axis=0), ndimage.sobel(gray, axis=1))
edges = (255 * edges / edges.max()).astype(np.uint8)
Image.fromarray(edges).save("edges.png")
image.filter(ImageFilter.GaussianBlur(2)).save("blurred.jpg", quality=85)

print("mean colour:", np.asarray(image).reshape(-1, 3).mean(axis=0).round().astype(int).tolist())
image
