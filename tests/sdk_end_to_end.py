"""Run the official SDK's own end-to-end tests against a local cluster, and record the result of each.

A script outside the test suite; it needs a checkout of Azure/azure-kusto-python, and azure-kusto-data[aio] installed:

    KUSTO_PYTHON=/path/to/azure-kusto-python python -m tests.sdk_end_to_end

The local cluster's token replaces signing in, and a short wait replaces each wait for rows. Tests that use no cluster
(the redirects of a public service) are omitted. The verdicts go to ``sdk_end_to_end.tsv``, with no text of the tests.
"""

import asyncio
import inspect
import os
import re
import shutil
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import azure.identity
import pytest
from azure.kusto.data.aio import KustoClient as AsyncKustoClient
from azure.kusto.data.exceptions import KustoApiError

import kqlmi
from kqlmi import local
from kqlmi.local.azure.loopback import Credential
from kqlmi.local.cluster import LocalCluster

RESULT = Path(__file__).with_suffix(".tsv")
FILES = ("azure-kusto-data/tests/test_e2e_data.py", "azure-kusto-ingest/tests/test_e2e_ingest.py")
DONE, KNOWN, OTHERWISE = "passes", "not supported", "fails otherwise"
INSIGHTS = (
    "availabilityResults browserTimings customEvents customMetrics dependencies exceptions pageViews performanceCounters "
    "requests resources traces"
)
_KNOWN = re.compile(r"the local cluster does not support ([^\n\"]+?)(?: \(the blob|[\"\n]|$)", re.MULTILINE)
# A checkout may lack its largest file; generated rows then replace it.
_FLIGHT = (
    '{n}.5,false,Carrier,{n:04},ID,City,IT,"{{""lat"":""1"",""lon"":""2""}}",Region,Rain,1.5,2.5,false,0,No Delay,F1,'
    '1.25,75.5,Origin,ID,City,IT,"{{""lat"":""1"",""lon"":""2""}}",Region,Clear,0,2018-01-01T00:00:00Z\n'
)


class Runner:
    """A pytest plugin that runs coroutines, replaces signing in, and records the result of each test."""

    def __init__(self, cluster: LocalCluster, inputs: Path) -> None:
        self.cluster, self.inputs = cluster, inputs
        self.session = kqlmi.connect(cluster.url, token=cluster.token, database="Samples")
        self.verdicts: dict[str, tuple[str, str]] = {}
        self._noted = 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [one for one in items if "redirects" not in one.name]
        for item in items:
            test = item.cls
            test.get_file_path = staticmethod(lambda: str(self.inputs))
            if hasattr(item.module, "time"):
                item.module.time = Hurried
                item.module.AsyncKustoClient = Past

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool | None:
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "teardown" or (report.when == "setup" and report.passed):
            return
        failures = [str(row[0]) for row in self.session.run(".show ingestion failures | project Details").rows]
        text = "\n".join([report.longreprtext, *failures[self._noted :]])
        self._noted = len(failures)
        known = _KNOWN.search(text)
        name = report.nodeid.partition("::")[2].removeprefix("TestE2E::")
        if report.passed:
            self.verdicts[name] = (DONE, "")
        elif known and not report.skipped:
            self.verdicts[name] = (KNOWN, known[1].strip())
        else:
            self.verdicts[name] = ("skips itself" if report.skipped else OTHERWISE, "")
            sys.stdout.write(f"\n{name}: {text[-1500:]}\n")


class Past(AsyncKustoClient):
    """The asynchronous client, which ignores a known refusal of a command that prepares a table."""

    async def execute(self, database: str | None, query: str, properties: Any = None) -> Any:
        """Run a command or query."""
        try:
            return await super().execute(database, query, properties)
        except KustoApiError as error:
            if not query.startswith(".") or not _KNOWN.search(str(error)):
                raise
            return None


class Closing(Credential):
    """A credential that the SDK's asynchronous client can close."""

    def close(self) -> None:
        """Do nothing: the token lives as long as the cluster."""


class Hurried:
    """A replacement for the module ``time``, for tests that sleep a second until rows arrive."""

    time = time.time

    @staticmethod
    def sleep(_seconds: float) -> None:
        time.sleep(0.01)


def prepared(checkout: Path, folder: Path) -> Path:
    """Copy the files that the tests send, and generate one that is missing."""
    for name in FILES:
        source = (checkout / name).parent / "input"
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
    flights = folder / "big_source.csv"
    if not flights.exists():
        sys.stdout.write("big_source.csv is not in the checkout; generated rows replace it\n")
        flights.write_text("".join(_FLIGHT.format(n=n) for n in range(50)))
    return folder


def main() -> None:
    """Write the verdicts, and print the number of each."""
    warnings.simplefilter("ignore")
    checkout = Path(os.environ["KUSTO_PYTHON"]).resolve()
    with TemporaryDirectory() as folder, local.start(databases=["Samples", "Insights"]) as cluster:
        credential = Closing(cluster.token)
        azure.identity.DefaultAzureCredential = lambda **_options: credential  # type: ignore[misc, assignment]
        os.environ |= {
            "ENGINE_CONNECTION_STRING": cluster.url,
            "DM_CONNECTION_STRING": cluster.ingest_url,
            "TEST_DATABASE": "Samples",
            "TEST_BLOB": "https://acct.blob.core.windows.net/data/dataset.csv?sig=none",
            "APPLICATION_INSIGHTS_ENGINE_CONNECTION_STRING": cluster.url,
            "APPLICATION_INSIGHTS_TEST_DATABASE": "Insights",
        }
        runner = Runner(cluster, prepared(checkout, Path(folder)))
        for name in INSIGHTS.split():
            runner.session.run(f".create table {name} (x: int)", "Insights")
        arguments = ["-q", "-p", "no:cacheprovider", "--noconftest", f"--rootdir={checkout}", "--import-mode=importlib"]
        options = ["-c", os.devnull, "-W", "ignore", "--tb=short", "--no-header", "--no-summary"]
        pytest.main([*arguments, *options, *(str(checkout / name) for name in FILES)], plugins=[runner])
        runner.session.close()
    rows = [f"{name}\t{verdict}\t{feature}" for name, (verdict, feature) in sorted(runner.verdicts.items())]
    RESULT.write_text("test\tverdict\tfeature\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for verdict, count in Counter(verdict for verdict, _ in runner.verdicts.values()).items():
        sys.stdout.write(f"{verdict:<28}{count:>4}\n")


if __name__ == "__main__":
    main()
