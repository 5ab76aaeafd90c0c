"""Commands that create and drop databases, and set their display names."""

from dataclasses import replace

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.state.state import Database, key
from kqlmi.local.values.faults import already_exists, bad_request
from kqlmi.local.values.principals import ADMIN

_LONGEST_NAME = 1024
_CREATED = "DatabaseName: string, PersistentPath: string, Created: string, StoresMetadata: bool, StoresData: bool"
_PRETTY = "DatabaseName: string, PrettyName: string, Status: string"


@command(".create database {name:database} [{ifnotexists}]", schema=_CREATED, needs=ADMIN, writes=True)
def database_create(call: Call) -> Rows:
    """Create a database without tables or policy; with ``ifnotexists``, keep an existing one."""
    name = call.args["database"]
    if not name or len(name) > _LONGEST_NAME:
        raise bad_request(f"a database name must have 1 to {_LONGEST_NAME} characters")
    state = call.state
    with state.lock:
        existing = state.world.databases.get(key(name))
        if existing and "ifnotexists" not in call.args:
            raise already_exists(name, "Database")
        if not existing:
            call.record("CREATE-DATABASE", state.put(Database(name, version=0)), after=name)
        return [(existing.name if existing else name, "", str(not existing), True, True)]


@command(".drop database {name:database}", schema="DatabaseName: string", needs=ADMIN, writes=True)
def database_drop(call: Call) -> Rows:
    """Drop a database and return the names of those that remain."""
    state = call.state
    with state.lock:
        database = state.database(call.args["database"])
        state.change(lambda w: w.without_database(database))
        call.record("DROP-DATABASE", database, before=database.name)
        return [(one.name,) for one in state.world.databases.values()]


@command(
    ".alter database {name:database} prettyname {string:pretty}",
    ".drop database {name:database} prettyname",
    schema=_PRETTY,
    name="database_{verb}_pretty_name",
    writes=True,
)
def database_pretty_name(call: Call) -> Rows:
    """Set or drop the display name of a database."""
    pretty = call.args.get("pretty", "")
    with call.state.lock:
        database = call.allowed(ADMIN)
        call.record("ALTER-DATABASE-PRETTY-NAME", call.state.put(replace(database, pretty_name=pretty)), after=pretty)
        return [(database.name, pretty, "Complete")]
