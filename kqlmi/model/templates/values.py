"""The values of a template, and their forms in a command."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kqlmi.model.entities import SYSTEM, Identity
from kqlmi.model.kql import quoting
from kqlmi.model.templates.fields import Field


@dataclass(frozen=True, slots=True)
class Place:
    """The place to run a template: the session's name, and the cluster's URLs and resource ID. Unknown ones are empty."""

    on: str = ""
    url: str = ""
    resource_id: str = ""
    ingest_uri: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """The identity, the database and the checked fields of one template."""

    identity: Identity
    database: str
    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return the value of a field, or an empty string if it was not passed."""
        return self.fields.get(name, "")

    @property
    def storage(self) -> str:
        """Return the connection string of the URL: ``URL;managed_identity=…``."""
        return f"{self['uri']};managed_identity={self.identity.object_id}"

    def written(self, fields: Iterable[Field]) -> dict[str, str]:
        """Return the values for the placeholders of a command: the fields, each as its kind is written, and combinations.

        The combinations are ``identity``, ``database``, the connection strings ``storage``, ``sql`` and ``cosmos`` and the
        file name ``artifact``, as literals; the ``query``, by default all rows of ``source``; and a plugin's ``output``.
        """
        found = {one.name: one.written(self[one.name]) for one in fields}
        identity = self.identity.object_id
        user = "" if identity == SYSTEM else f"User Id={identity};"
        sign_in = f'Authentication="Active Directory Managed Identity";{user}'
        account = f"AccountEndpoint={self['uri']};Database={self['catalog']};Collection={self['collection']}"
        literals = {
            "identity": identity,
            "database": self.database,
            "storage": self.storage,
            "sql": f"Server=tcp:{self['server']},1433;Initial Catalog={self['catalog']};{sign_in}",
            "cosmos": f"{account};{sign_in}",
            "artifact": self["uri"].rstrip("/").rpartition("/")[2],
        }
        return {
            **found,
            **{name: quoting.literal(text) for name, text in literals.items()},
            "query": found.get("query") or found.get("source", ""),
            "output": f": {found['schema']}" if found.get("schema") else "",
        }
