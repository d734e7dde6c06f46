#!/usr/bin/env python3
"""Writes src/cli/apps/items.json: the 50 items that `GET /json/{count}` of `kiang serve --app bench` answers with.

The shape is the one HttpArena's "json" profile asks for (all numbers are integers); the goods are our own: what a
desert outfitter sells. Deterministic, so that running it again changes nothing.

    python3 scripts/generate-items.py
"""

import json
import pathlib
import random

GOODS = {
    "water": ["Waterskin", "Canteen", "Well Rope", "Filter", "Bucket"],
    "shade": ["Awning", "Headscarf", "Tent Pole", "Sun Hat", "Canopy"],
    "tack": ["Halter", "Saddle Bag", "Girth Strap", "Lead Rope", "Blanket"],
    "food": ["Dried Dates", "Flat Bread", "Salt Block", "Lentils", "Mint Tea"],
    "tools": ["Hoof Pick", "Lantern", "Compass", "Sand Spade", "Whetstone"],
}
MAKES = ["Gobi", "Karakum", "Negev", "Ladakh", "Atacama", "Namib", "Sonora", "Taklamakan", "Thar", "Wadi Rum"]
TAGS = ["durable", "featherweight", "handmade", "in-stock", "new", "refurbished", "seasonal", "waterproof"]
COUNT = 50


def items():
    """The items, the same at every call."""
    source = random.Random(2026)

    def pick(choices):
        # Only random() itself is promised to give the same sequence in every version of Python.
        return choices[int(source.random() * len(choices))]

    every_good = [(category, good) for good_no in range(5) for category in GOODS for good in [GOODS[category][good_no]]]
    for number in range(COUNT):
        category, good = every_good[number % len(every_good)]
        yield {
            "id": number + 1,
            "name": f"{pick(MAKES)} {good}",
            "category": category,
            "price": pick(range(3, 500)),
            "quantity": pick(range(1, 100)),
            "active": pick([True, True, False]),
            "tags": sorted({pick(TAGS) for _ in range(pick(range(1, 4)))}),
            "rating": {"score": pick(range(1, 51)), "count": pick(range(1, 501))},
        }


def main():
    """Writes the file, an item a line."""
    target = pathlib.Path(__file__).resolve().parent.parent / "src" / "cli" / "apps" / "items.json"
    lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items())
    target.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"wrote {COUNT} items to {target}")


if __name__ == "__main__":
    main()
