"""The operations on the policies of a whole cluster, compared with parsing those policies once, at four sizes.

    python benchmarks/estate.py

Each database grants 40 of 200 identities two usages, and discovery has read every source. The time is processor time, the
best of several runs; the memory is the peak that an operation adds, in a run of its own. The exponent is that of the time
against the number of databases, between the smallest and the largest size. Nothing is read from a cluster.
"""

import gc
import math
import time
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial

from kqlmi import policyfile
from kqlmi.model import jsontext
from kqlmi.model.audit import audit, tighten
from kqlmi.model.audit.audit import Audit
from kqlmi.model.audit.findings import Facts
from kqlmi.model.entities import Scope
from kqlmi.model.plan import edits, listing
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.uses import needs
from kqlmi.model.uses.needs import Discovery, Evidence, Need, Source

SIZES = (125, 250, 500, 1000)
IDENTITIES, HELD = 200, 40
USAGES = ("ExternalTable", "AutomatedFlows", "NativeIngestion", "ExternalDataRequest")
SOURCES = (needs.EXTERNAL_TABLES, needs.UPDATE_POLICIES, needs.ACCELERATION, needs.EXPORTS)
ROUNDS = 3


def main() -> None:
    """Measure, and print a row for each operation."""
    times: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for size in SIZES:
        policies = texts(size)
        for name, operation in operations(policies).items():
            times.setdefault(name, []).append(min(seconds(operation, policies) for _ in range(ROUNDS)))
            if size == SIZES[-1]:
                memory[name] = peak(operation, policies)
    parsed = times["parse"]
    print(f"{'operation':>14}{'ms at ' + str(SIZES[-1]):>12}{'ratio':>8}{'MiB':>8}{'exponent':>10}")
    for name, (*_, last) in times.items():
        exponent = math.log(last / times[name][0]) / math.log(SIZES[-1] / SIZES[0])
        print(f"{name:>14}{last * 1000:>12.0f}{last / parsed[-1]:>8.1f}{memory[name]:>8.0f}{exponent:>10.2f}")


def identity(number: int) -> str:
    """Return the object ID of an identity of the estate."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def texts(size: int) -> dict[Scope, str]:
    """Return the policy of each database as the service writes it."""
    return {
        Scope.database(f"db{place:04}"): jsontext.dump(
            [
                {
                    "ObjectId": identity((place * 7 + held) % IDENTITIES),
                    "ClientId": identity(1000 + (place * 7 + held) % IDENTITIES),
                    "TenantId": identity(9999),
                    "DisplayName": f"mi-{(place * 7 + held) % IDENTITIES:03}",
                    "IsSystem": False,
                    "AllowedUsages": f"{USAGES[held % 4]}, {USAGES[(held + 1) % 4]}",
                }
                for held in range(HELD)
            ]
        )
        for place in range(size)
    }


def parse(policies: Mapping[Scope, str]) -> Snapshot:
    """Return the policies of a cluster without a policy of its own."""
    return Snapshot({Scope.cluster(): None, **{scope: Policy.parse(text) for scope, text in policies.items()}})


def facts(snapshot: Snapshot) -> Facts:
    """Return what an audit examines: every source was read, and each database uses one identity."""
    databases = tuple(scope for scope in snapshot.policies if not scope.is_cluster)
    sources = tuple(Source(name, str(scope.name), "read") for scope in databases for name in SOURCES)
    used = tuple(
        Need(identity(place * 7 % IDENTITIES), "ExternalTable", scope, (Evidence(needs.EXTERNAL_TABLES, "table T"),))
        for place, scope in enumerate(databases)
    )
    return Facts.of(snapshot, Discovery(databases, sources, used))


def audited(snapshot: Snapshot) -> Audit:
    """Return an audit with the plan of every finding's fix, as ``Session.audit`` returns it."""
    found = facts(snapshot)
    findings = tuple(audit.audit(found))
    plans = {
        one.id: make_plan(found.policies, Snapshot(one.fix.edits)) for one in findings if one.fix.edits is not None
    }
    return Audit("c", findings, (), (), plans, (), (), (), knows_assigned=False)


def operations(policies: Mapping[Scope, str]) -> dict[str, Callable[[Snapshot], object]]:
    """Return the operations on the policies of the cluster by name."""
    snapshot = parse(policies)
    databases = [str(scope.name) for scope in snapshot.policies if not scope.is_cluster]
    granted = edits.after(snapshot, make_plan(snapshot, edits.grant(snapshot, identity(0), ["SqlRequest"])))
    document = policyfile.export(snapshot)

    def plan_file(current: Snapshot) -> object:
        desired = policyfile.read(document).desired(current, databases)
        return make_plan(current, desired.snapshot, exactly=True)

    def tightened(current: Snapshot) -> object:
        found = facts(current)
        return make_plan(found.policies, Snapshot(tighten.tighten(found).edits))

    return {
        "parse": lambda _: parse(policies),
        "grant": lambda now: make_plan(now, edits.grant(now, identity(0), ["SqlRequest"])),
        "undo": lambda now: make_plan(granted, now),
        "access": lambda now: listing.access_rows(now, "", "", databases),
        "matrix": lambda now: listing.access_matrix(now, "", "", databases),
        "export": policyfile.export,
        "file plan": plan_file,
        "update": partial(policyfile.update, document),
        "audit": audited,
        "tighten": tightened,
    }


def seconds(operation: Callable[[Snapshot], object], policies: Mapping[Scope, str]) -> float:
    """Return the processor time of an operation on policies that were just parsed."""
    now = parse(policies)
    gc.collect()
    start = time.process_time()
    operation(now)
    return time.process_time() - start


def peak(operation: Callable[[Snapshot], object], policies: Mapping[Scope, str]) -> float:
    """Return the peak of the memory that an operation adds, in MiB."""
    now = parse(policies)
    gc.collect()
    tracemalloc.start()
    try:
        operation(now)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
