"""Make, blur, resize and encode images in one process, and keep the small results."""

import sys

from wand.image import Image

kept = []
for turn in range(5):
    with Image(width=1600 + 100 * turn, height=1200, pseudo="plasma:fractal") as image:
        image.gaussian_blur(sigma=1)
        image.resize(800, 600)
        image.rotate(7)
        kept.append(image.make_blob("jpeg"))
open("ready", "w").close()
sys.stdin.read()
