"""The processor time of management commands on the local cluster, with 1,000 databases and identities and with few.

    python benchmarks/commands.py

The clients run in separate processes, so that the time of this process is only the server's, including HTTP.
"""

import json
import subprocess
import sys
import time

import kqlmi
from kqlmi.local.cluster import LocalCluster

CLIENT = """
import http.client, json, sys
host, token, text, count = sys.argv[1:]
connection = http.client.HTTPConnection(host)
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
body = json.dumps({"db": "db1", "csl": text})
for _ in range(int(count)):
    connection.request("POST", "/v1/rest/mgmt", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
"""
MANY, FEW = 1000, 3
REPEATED = 100


def filled(count: int) -> LocalCluster:
    """Return a cluster with ``count`` databases and identities, all in the policies of the cluster and of one database."""
    names = [f"db{n}" for n in range(count)]
    cluster = kqlmi.local.start(databases=names, identities=[f"identity {n}" for n in range(count)])
    for scope in ("cluster", "database ['db1']"):
        ask(cluster, f".alter {scope} policy managed_identity '{payload(cluster, count)}'", 1)
    return cluster


def payload(cluster: LocalCluster, count: int) -> str:
    """Return the JSON of a policy for the first ``count`` identities."""
    entries = [{"ObjectId": one.object_id, "AllowedUsages": "ExternalTable"} for one in cluster.identities[:count]]
    return json.dumps(entries)


def ask(cluster: LocalCluster, text: str, count: int) -> float:
    """Send a command ``count`` times, and return the server's mean milliseconds."""
    host = cluster.url.removeprefix("http://")
    started = time.process_time()
    subprocess.run([sys.executable, "-c", CLIENT, host, cluster.token, text, str(count)], check=True)  # noqa: S603
    return (time.process_time() - started) / count * 1000


def main() -> None:
    """Measure, and print a row for each command."""
    with filled(FEW) as few, filled(MANY) as many:
        commands = {
            "show a database's policy": ".show database ['db2'] policy managed_identity",
            "show a full policy": ".show database ['db1'] policy managed_identity",
            "show the cluster's full policy": ".show cluster policy managed_identity",
            "grant in an empty policy": ".alter-merge database ['db2'] policy managed_identity '{one}'",
            "grant in a full policy": ".alter-merge database ['db1'] policy managed_identity '{one}'",
            "replace a policy": ".alter database ['db2'] policy managed_identity '{one}'",
            "show the callout policy": ".show cluster policy callout",
            "show external tables": ".show external tables",
        }
        print(f"{'':32}{FEW:>8} of each{MANY:>8} of each   ratio")
        for name, text in commands.items():
            small, large = (ask(one, text.replace("{one}", payload(one, 1)), REPEATED) for one in (few, many))
            print(f"{name:32}{small:>12.2f} ms{large:>13.2f} ms{large / small:>8.1f}")


if __name__ == "__main__":
    main()
