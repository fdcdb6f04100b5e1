"""Fixtures shared by every room."""

from pathlib import Path

import pytest
from hypothesis import settings

# A deadline measures how busy the machine is, not the code.
settings.register_profile("whycell", deadline=None)
settings.load_profile("whycell")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data is not beside this checkout")
    return folder
