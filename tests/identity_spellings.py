"""Spellings of an identity in the flows that the local cluster runs, in one table for ``check`` and for the cluster.

``ID`` stands for the identity, ``URL`` for the address of a CSV file that it may read, and ``HALF`` and ``REST`` for the two
halves of the identity.
"""

import re
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\b(?:HALF|REST|URL|ID)\b")

_PAYLOAD: Final = '{"IsEnabled":true,"Source":"R","Query":"R","ManagedIdentity":"ID"}'
_SPLIT: Final = (
    '\'[{"IsEnabled":true,"Source":"R","Query":"R","Managed\' "Identity\\":\\"HALF" // the rest\n @\'REST"}]\''
)
_EXPORT: Final = ".create-or-alter continuous-export E over (R) to table X with"
_ACCELERATION: Final = '{"IsEnabled":true,"Hot":"1.00:00:00","ManagedIdentity":"ID"}'
_READ: Final = "externaldata (a: string, b: long)"

SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "update_policy": (
        f".alter table Made policy update '[{_PAYLOAD}]'",
        f".alter table Made policy update with (AllowUnreferencedSourceTable=true) '[{_PAYLOAD}]'",
        f".alter-merge table Made policy update\nwith\n(['AllowUnreferencedSourceTable'] = true)\n```[{_PAYLOAD}]```",
        f".alter table Made policy update with () @'[{_PAYLOAD}]'",
        f".alter table Made policy update {_SPLIT}",
        f".execute database script <|\n// policies\n.show tables\n\n.alter table Made policy update\n  {_SPLIT}",
    ),
    "continuous_export": (
        f"{_EXPORT} (managedIdentity='ID', intervalBetweenRuns=1h) <| R",
        f"{_EXPORT} (intervalBetweenRuns=1h, ['managedIdentity']='ID') <| R",
        f'{_EXPORT} (["managedIdentity"] = "ID", intervalBetweenRuns=1h) <| R',
        f"{_EXPORT} ('managedIdentity' = @'ID', intervalBetweenRuns=1h) <| R",
        f"{_EXPORT} (['managed' 'Identity']=```ID```, intervalBetweenRuns=1h) <| R",
        f"{_EXPORT} (managedIdentity='HALF' \"REST\", intervalBetweenRuns=1h) <| R",
    ),
    "query_acceleration": (
        f".alter external table D policy query_acceleration '{_ACCELERATION}'",
        f".alter-merge external table D policy query_acceleration ```{_ACCELERATION}```",
        '.alter external table D policy query_acceleration \'{"IsEnabled":true,"Hot":"1.00:00:00",\' \'"ManagedIdentity":"HALF\' \'REST"}\'',
    ),
    "externaldata": (
        f"{_READ} [h'URL;managed_identity=ID']",
        f"{_READ} [h'URL;managed_identity=ID'] with (format='csv')",
        f"{_READ} with (format='csv') [h'URL;managed_identity=ID']",
        f"{_READ}\nwith // before\n(['format']=\"csv\", ignoreFirstRecord=false)\n[\n  @'URL;managed_' h'identity=HALF' \"REST\"\n]",
        f"let c = 'URL;managed_identity=ID'; {_READ} with (format='csv') [c]",
        f"{_READ} [```URL;managed_identity=ID```]",
        f"{_READ} [h'URL; managedIdentity = ID']",
    ),
    "ingest.into": (
        ".ingest into table R (h'URL;managed_identity=ID')",
        ".ingest into table R (h'URL;managed_' @'identity=HALF' \"REST\") with (['format'] = 'csv')",
        ".execute database script <|\n.show tables\n.ingest into table R (h'URL;managed_identity=ID')",
    ),
    "export.to_storage": (
        ".export to csv (h'URL/out;managed_identity=ID') <| R",
        ".export to csv (h'URL/out;' 'managed_identity=HALF' 'REST') with (['namePrefix'] = 'p') <| R",
    ),
}  # fmt: skip

OTHERS: Final = (
    f".alter table Made policy update with AllowUnreferencedSourceTable=true '[{_PAYLOAD}]'",
    f"{_EXPORT} (managed_identity='ID', intervalBetweenRuns=1h) <| R",
    f"{_EXPORT} ([managedIdentity]'ID', intervalBetweenRuns=1h) <| R",
    f"{_READ} with (format='csv') with (ignoreFirstRecord=false) [h'URL;managed_identity=ID']",
    f"{_READ} (format='csv') [h'URL;managed_identity=ID']",
    f"{_READ} [h'URL;managed-identity=ID']",
)
"""Texts that resemble these, in which no identity is used."""


def written(text: str, identity: str, url: str) -> str:
    """Return a spelling with its placeholders replaced."""
    half = len(identity) // 2
    values = {"HALF": identity[:half], "REST": identity[half:], "URL": url, "ID": identity}
    return _PLACEHOLDER.sub(lambda found: values[found[0]], text)
