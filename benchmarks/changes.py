"""The cost of a state change on a local cluster with a folder, compared with one that keeps its state in memory.

    python benchmarks/changes.py

The change replaces the policy of one database. The time is the server's processor time, including HTTP. It excludes
waiting for the disk, which is one fsync per change.
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from commands import ask, payload

import kqlmi

SIZES = (4, 40, 400, 1000)
CHANGES = 60
ROUNDS = 5


def main() -> None:
    """Measure, and print a row for each number of databases."""
    print(f"{'databases':>9}{'in memory':>14}{'in a folder':>14}{'ratio':>8}")
    for size in SIZES:
        names = [f"db{number}" for number in range(size)]
        with (
            TemporaryDirectory() as folder,
            kqlmi.local.start(databases=names, identities=["one"]) as volatile,
            kqlmi.local.start(databases=names, identities=["one"], path=Path(folder) / "state") as kept,
        ):
            changes = [
                (one, f".alter database db1 policy managed_identity '{payload(one, 1)}'") for one in (volatile, kept)
            ]
            # In turns, so that other load on the machine affects both.
            rounds = [[ask(one, text, CHANGES) for one, text in changes] for _ in range(ROUNDS)]
        memory, disk = map(statistics.median, zip(*rounds, strict=True))
        print(f"{size:>9}{memory:>11.2f} ms{disk:>11.2f} ms{disk / memory:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
