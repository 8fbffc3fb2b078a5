"""Read CSV into frames, join, group and pivot them, and keep one column of each."""

import gc
import io
import sys

import numpy
import pandas

rng = numpy.random.default_rng(15)
kept = []
for turn in range(6):
    rows = 150_000 + 20_000 * turn
    frame = pandas.DataFrame(
        {
            "key": rng.integers(0, 5000, rows),
            "group": rng.integers(0, 50, rows),
            "value": rng.normal(size=rows),
            "name": rng.integers(0, 10**9, rows).astype(str),
        }
    )
    text = frame.to_csv(index=False)
    again = pandas.read_csv(io.StringIO(text))
    other = again.groupby("key")["value"].agg(["mean", "std"]).reset_index()
    joined = again.merge(other, on="key")
    table = joined.pivot_table(index="key", columns="group", values="value")
    kept.append(table.mean(axis=1).to_numpy())
del frame, text, again, other, joined, table
gc.collect()
open("ready", "w").close()
sys.stdin.read()
