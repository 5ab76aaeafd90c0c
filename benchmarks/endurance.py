"""The memory that a kernel retains after panels were opened, used and closed.

    python benchmarks/endurance.py [PANELS] [DATABASES] [IDENTITIES]

Each panel is the result of its own cell, reads every policy, shows a plan and is closed; the kernel keeps it in `Out`.
The memory is resident, measured after a garbage collection. The baseline is a connected kernel that has not opened a
panel, so the libraries that the first panel loads are counted too.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.notebook.kernel import connected_kernel, filled

PANELS, DATABASES, IDENTITIES = 300, 125, 200
SHOWN = 50


def main(panels: int = PANELS, databases: int = DATABASES, identities: int = IDENTITIES) -> None:
    """Measure, and print the memory at the start, along the way and at the end, and the difference."""
    with filled(databases, identities) as cluster, connected_kernel(cluster) as kernel:
        start, began = kernel.mebibytes, time.monotonic()
        row("start", start, start, began)
        for count in range(1, panels + 1):
            kernel.open_panel(f"cell {count}")
            if count == 1:
                row("1 open", kernel.mebibytes, start, began)
            kernel.run("panel.close()")
            if count == 1 or count % SHOWN == 0 or count == panels:
                row(f"{count} closed", kernel.mebibytes, start, began)


def row(name: str, now: float, start: float, began: float) -> None:
    """Print a row."""
    print(f"{name:>12}{now:>8.1f} MiB{now - start:>+8.1f} MiB{time.monotonic() - began:>8.0f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
