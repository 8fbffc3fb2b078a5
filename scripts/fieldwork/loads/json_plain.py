"""Parse JSON into dicts, index them, and keep one of a thousand."""

import gc
import json
import random
import sys

random.seed(15)
WORDS = [f"{random.getrandbits(64):x}" for _ in range(5000)]


def document(number):
    return {
        "id": number,
        "name": random.choice(WORDS) * 3,
        "tags": [random.choice(WORDS) + str(number) for _ in range(12)],
        "prices": {random.choice(WORDS): random.random() for _ in range(8)},
        "text": " ".join(random.choice(WORDS) for _ in range(60)),
    }


kept = []
for _ in range(3):
    text = json.dumps([document(number) for number in range(20000)])
    documents = json.loads(text)
    index = {}
    for each in documents:
        for tag in each["tags"]:
            index.setdefault(tag, []).append(each["id"])
    kept += documents[::1000]
    del text, documents, index, each
gc.collect()
open("ready", "w").close()
sys.stdin.read()
