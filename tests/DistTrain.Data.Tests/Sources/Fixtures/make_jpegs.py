"""Makes the JPEG images that ImageFolderSourceTests reads, with Pillow 9.4 (libjpeg). Run it in this directory.

Each is 32 x 16 pixels of two flat halves, whose edge lies on that of JPEG's own blocks, 16 x 16 with colours at half the
resolution, so that decoders agree to a unit or two but for the columns at the edge.
"""
from PIL import Image

WIDTH, HEIGHT = 32, 16


def picture(mode, left, right):
    image = Image.new(mode, (WIDTH, HEIGHT), left)
    image.paste(right, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


picture("L", 40, 200).save("grey.jpg", quality=95)
picture("RGB", (200, 30, 60), (20, 120, 220)).save("subsampled.jpg", quality=95, subsampling="4:2:0")
picture("RGB", (10, 200, 90), (250, 240, 30)).save("progressive.jpeg", quality=95, subsampling="4:4:4", progressive=True)
