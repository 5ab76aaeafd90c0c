"""The time to start the local cluster in a new process, compared with importing the web server that it is built on.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys

TIMED = "import time; started = time.perf_counter(); {}; print(time.perf_counter() - started)"
BASE = "import asyncio, tornado.web, tornado.httpserver"
START = "import kqlmi; cluster = kqlmi.local.start()"
QUERY = f"{START}; session = kqlmi.connect(cluster.url, token=cluster.token); session.run('print x = 1 + 1')"
REPEATED = 7


def seconds(code: str) -> float:
    """Return the median time of a statement in new processes."""
    command = [sys.executable, "-c", TIMED.format(code)]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(REPEATED))  # noqa: S603
    return statistics.median(float(run.stdout.split()[-1]) for run in runs)


def main() -> None:
    """Measure, and print a row for each statement."""
    base = seconds(BASE)
    print(f"{'import tornado':40}{base * 1000:>8.0f} ms")
    for name, code in {"start, without the engine": START, "start, connect and run a first query": QUERY}.items():
        taken = seconds(code)
        print(f"{name:40}{taken * 1000:>8.0f} ms   {taken / base:.1f} times")


if __name__ == "__main__":
    main()
