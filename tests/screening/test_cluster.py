"""Where the coordinator of a cluster listens."""

from __future__ import annotations

from typing import Any

import jax
import pytest

from scaling_laws.decisions.screening.cluster import Cluster, join


@pytest.mark.parametrize(
    ("coordinator", "bound"),
    [
        ("127.0.0.1:9876", "127.0.0.1:9876"),
        ("localhost:9876", "localhost:9876"),
        ("[::1]:9876", "[::1]:9876"),
        ("10.0.0.1:9876", None),  # all interfaces: told so
        ("head-node:9876", None),
    ],
)
def test_a_coordinator_on_the_loopback_address_listens_there_only(
    coordinator: str, bound: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *arguments, **options: seen.update(options)
    )
    join(Cluster(coordinator, 2, 0))
    assert seen["coordinator_bind_address"] == bound
