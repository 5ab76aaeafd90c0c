"""A helper that runs the lines that kqlmi prints, with the local cluster in the role of Azure."""

import re
import shlex
from typing import Any

from kqlmi.local.cluster import LocalCluster
from kqlmi.session import Session

_CONTAINER = re.compile(r".*/storageAccounts/(\w+)/blobServices/default/containers/(.+)")


def run_printed_line(cluster: LocalCluster, session: Session, line: str) -> None:
    """Run a ``%kqlmi grant`` line, a cell, or a line of the Azure CLI; kqlmi's own must name the session."""
    head, _, command = line.partition("\n")
    words = shlex.split(head.removeprefix("%kqlmi "))
    options = dict(word.removeprefix("--").split("=") for word in words if "=" in word)
    assert options.get("on", session.name) == session.name
    if head.startswith("%kqlmi grant"):
        where: dict[str, Any] = {"cluster": True} if "--cluster" in words else {"databases": [options["database"]]}
        session.apply(session.grant(words[1], words[2], **where))
    elif line.startswith("az role assignment create"):
        assignment = dict(zip(words[4::2], words[5::2], strict=True))
        scope = assignment["--scope"]
        if found := _CONTAINER.fullmatch(scope):
            scope = f"https://{found[1]}.blob.core.windows.net/{found[2]}"
        cluster.assign_role(assignment["--assignee-object-id"], scope, assignment["--role"])
    else:
        assert head == f"%%kqlmi --on={session.name}"
        session.run(command)
