"""Keep windows of many numpy arrays of 20 KB to 2 MB, and let most of them go."""

import sys

import numpy

rng = numpy.random.default_rng(15)
kept, window = [], []
for turn in range(6000):
    window.append(rng.normal(size=int(2 ** rng.uniform(11.5, 18))))
    if len(window) > 400:
        window.pop(int(rng.integers(len(window))))
    if turn % 100 == 0:
        kept.append(window[-1][:2000].copy())
window.clear()
open("ready", "w").close()
sys.stdin.read()
