"""The values that fill a template, and how they are written in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from kqlmi.errors import InputError
from kqlmi.model.azure.resourceid import ResourceId
from kqlmi.model.entities import SYSTEM, Identity
from kqlmi.model.kql import quoting
from kqlmi.model.templates.fields import columns


@dataclass(frozen=True, slots=True)
class Place:
    """Where a template is to run: the session's name, the cluster's URLs and its resource ID; empty where not known."""

    on: str = ""
    url: str = ""
    resource_id: str = ""
    ingest_uri: str = ""

    @property
    def fields(self) -> Mapping[str, str]:
        """Return the fields that it tells."""
        known = {"resource_id": self.resource_id, "ingest_uri": self.ingest_uri}
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class Values:
    """The identity, the database and the checked fields of one template."""

    identity: Identity
    database: str
    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return the value of a field; empty where it was not said."""
        return self.fields.get(name, "")

    def name(self, field: str) -> str:
        """Return a field as an entity's name."""
        return quoting.name(self[field])

    def literal(self, field: str) -> str:
        """Return a field as a string literal."""
        return quoting.literal(self[field])

    def query(self, field: str = "source") -> str:
        """Return the query, or all rows of the table in a field where none was said."""
        return self["query"] or self.name(field)

    def columns(self, opening: str = "(") -> str:
        """Return the schema in brackets; empty where there is none."""
        if not self["schema"]:
            return ""
        return opening + ", ".join(f"{quoting.name(name)}: {kind}" for name, kind in columns(self["schema"])) + ")"

    @property
    def client_id(self) -> str:
        """Return the identity for LightIngest, the one program that takes a client ID.

        Raises:
            InputError: It is not known.
        """
        found = SYSTEM if self.identity.object_id == SYSTEM else self["client_id"] or self.identity.client_id
        if not found:
            raise InputError(
                f"LightIngest takes the client ID of {self.identity}, which no policy tells.", hint="Say --client-id."
            )
        return found

    @property
    def storage(self) -> str:
        """Return the connection string of the URL: ``URL;managed_identity=…``."""
        return f"{self['uri']};managed_identity={self.identity.object_id}"

    @property
    def sql(self) -> str:
        """Return the connection string of the SQL server."""
        return f"Server=tcp:{self['server']},1433;Initial Catalog={self['catalog']};{self._authentication}"

    @property
    def cosmos(self) -> str:
        """Return the connection string of the Cosmos DB account."""
        where = f"AccountEndpoint={self['uri']};Database={self['catalog']};Collection={self['collection']};"
        return where + self._authentication

    @property
    def _authentication(self) -> str:
        identity = self.identity.object_id
        user = "" if identity == SYSTEM else f"User Id={identity};"
        return f'Authentication="Active Directory Managed Identity";{user}'

    @property
    def cluster(self) -> ResourceId:
        """Return where the cluster is in Azure; InputError where the field is no resource ID of one."""
        found = ResourceId.parse(self["resource_id"].rstrip("/"), "Microsoft.Kusto/clusters")
        if found is None:
            raise InputError("--resource-id is not the resource ID of a cluster.")
        return found


def hidden(text: str) -> str:
    """Return a literal that the service masks in its logs: ``h'…'``."""
    return f"h{quoting.literal(text)}"
