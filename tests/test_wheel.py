"""The wheel holds the whole package and nothing else."""

from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import kqlmi

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kqlmi"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout."""
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))


def test_the_wheel_holds_each_file_of_the_package_and_its_metadata_only(wheel: Path) -> None:
    files = {
        str(file.relative_to(ROOT)) for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    info = f"kqlmi-{kqlmi.__version__}.dist-info"
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {one for one in held if not one.startswith(f"{info}/")} == files
    assert {one.removeprefix(f"{info}/") for one in held - files} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_metadata_names_version_command_and_types(wheel: Path) -> None:
    info = f"kqlmi-{kqlmi.__version__}.dist-info"
    with ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        assert archive.read(f"{info}/entry_points.txt").decode().splitlines()[:2] == [
            "[console_scripts]",
            "kqlmi = kqlmi.cli:main",
        ]
        assert "kqlmi/py.typed" in archive.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("kqlmi", kqlmi.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    # No address exists yet that could be named.
    assert metadata.get_all("Project-URL") is None
