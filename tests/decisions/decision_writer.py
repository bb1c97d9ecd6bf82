"""A process that decides without end, or a number of times, and says each key once its act is answered."""

import sys
from itertools import count

from kiyome.decisions.store import Decision, open_decisions

if __name__ == "__main__":  # doctest imports every module
    url, reviewer, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = open_decisions(url, fingerprint="f" * 64, class_names=("cat",))
    print("open", flush=True)  # noqa: T201
    mine = [event for event in store.events_after() if event.reviewer == reviewer]
    versions = {event.image_id: event.sequence for event in mine}
    first = 1 + max((int(event.batch.rpartition(" ")[2]) for event in mine), default=0)
    for turn in range(first, first + turns) if turns else count(first):
        rows = (f"{turn % 3}.png", f"{turn % 3} twin.png")
        acts = [
            Decision(image_id=row, version=versions.get(row, 0), verdict="relabel", label="cat")
            for row in rows
        ]
        key = f"{reviewer} {turn}"
        written = store.append(
            acts, key=key, reviewer=reviewer, run="r", table_content="c", seen={"turn": turn}
        )
        versions |= {event.image_id: event.sequence for event in written}
        print(key, flush=True)  # noqa: T201
    store.close()
