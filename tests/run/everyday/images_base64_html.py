# Asked: an HTML page with an embedded PNG (data URL), and show the picture here too.
# Needs: Pillow IPython
# Shows: image/png text/html
# Makes: page.html
import base64
from io import BytesIO
from IPython.display import HTML, Image, display
from PIL import Image as PILImage, ImageDraw

picture = PILImage.new("RGB", (120, 60), "#305496")
ImageDraw.Draw(picture).polygon([(10, 50), (60, 10), (110, 50)], fill="gold")
buffer = BytesIO()
picture.save(buffer, format="PNG", optimize=True)
encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
page = f'<figure><img alt="roof" src="data:image/png;base64,{encoded}"><figcaption>A roof</figcaption></figure>'
with open("page.html", "w") as f:
    f.write(page)
display(Image(data=buffer.getvalue()))
display(HTML(page))
print(len(page) > 200, base64.b64decode(encoded)[:4])
