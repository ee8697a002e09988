"""What the examples in docstrings find: names that they do not import, and an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    from tests.project.public import EXAMPLE_NAMES

    doctest_namespace.update(EXAMPLE_NAMES)


@pytest.fixture(autouse=True)
def _folder_of_examples(request: pytest.FixtureRequest) -> Iterator[None]:
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.chdir(request.getfixturevalue("tmp_path"))
        yield
