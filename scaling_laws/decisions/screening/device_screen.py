"""Tiles of candidates evaluated and tallied on a mesh of devices.

A tile is evaluated by the same compiled code whatever the block, the device or the number of
devices, so that a candidate's loss is the same bits everywhere. Each device folds its tiles into
its own tally; tallies meet only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from scaling_laws.decisions.screening.candidate_space import TILE, Numbers, Space, candidate_walk
from scaling_laws.decisions.screening.reduction import Tally, add, empty, merge
from scaling_laws.models import Family, FinalOnSegments, Law, SampledSegments, SearchBox

__all__ = ["Screen", "facts_as", "losses_at", "mesh_of"]

Array = Any
AXIS = "devices"
Params = Mapping[str, Array]


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """A row of devices."""
    return Mesh(np.array(devices), (AXIS,))


def facts_as(facts: Mapping[str, float], dtype: Any) -> dict[str, Any]:
    """Facts in a type of number."""
    return {name: dtype(value) for name, value in facts.items()}


def walks_of(
    family: Family, shape: SearchBox, cells: int, warm: bool
) -> Callable[[Numbers, Array, Array], SampledSegments]:
    """(numbers, shift, indices (candidates,)) -> walks of an arm's candidates; traceable.

    They have one form for all arms, so that the law itself is compiled once.
    """

    def one(numbers: Numbers, shift: Array, index: Array) -> SampledSegments:
        return candidate_walk(family, shape, numbers, shift, index, cells, warm)

    return jax.vmap(one, in_axes=(None, None, 0))


def losses_of(law: Law, params: Params, facts: Params, walks: SampledSegments) -> Array:
    """Losses under every draw: params (draws,) -> (draws, candidates); traceable."""

    def one(run: SampledSegments) -> Array:
        history = law.history(FinalOnSegments(run), run.lr, facts=facts)
        return jax.vmap(lambda each: law.loss(each, history)[0])(params)

    found: Array = jax.vmap(one, out_axes=1)(walks)
    return found


@cache
def _compiled_rows(
    law: Law, shapes: tuple[tuple[Family, SearchBox], ...], cells: int, warm: bool
) -> Any:
    """(params, facts, numbers, indices (arms, several)) -> losses (draws, arms·several)."""
    arms = [walks_of(family, shape, cells, warm) for family, shape in shapes]

    def rows(params: Params, facts: Params, numbers: Numbers, indices: Array) -> Array:
        parts = [
            each(numbers, shift, index)
            for each, shift, index in zip(arms, numbers.shifts, indices, strict=True)
        ]
        every = jax.tree.map(lambda *part: jnp.concatenate(part), *parts)
        return losses_of(law, params, facts, every)

    return jax.jit(rows)


def losses_at(
    law: Law, space: Space, slots: Sequence[int], params: Params, facts: Params, cells: int
) -> NDArray[Any]:
    """Losses of some candidates: params (draws,) -> (draws, slots), in the type of the params."""
    dtype = next(iter(params.values())).dtype.type
    arms, indices = space.places(np.asarray(slots, np.int64))
    lanes = np.array([np.count_nonzero(arms[:place] == arm) for place, arm in enumerate(arms)])
    size = 1 << int(lanes.max()).bit_length()  # few sizes, few compilations
    table = np.zeros((len(space.arms), size), np.uint32)
    table[arms, lanes] = indices
    compiled = _compiled_rows(law, _shapes(space), cells, space.warmup > 0)
    found = np.asarray(compiled(params, facts_as(facts, dtype), space.numbers(dtype), table))
    return found[:, arms * size + lanes]


def _shapes(space: Space) -> tuple[tuple[Family, SearchBox], ...]:
    return tuple((arm.family, arm.shape) for arm in space.arms)


@cache
def _compiled_block(
    law: Law, shapes: tuple[tuple[Family, SearchBox], ...], cells: int, warm: bool, mesh: Mesh
) -> Any:
    """Compiled once for a law, a set of shapes and sizes of arrays: seeds, lengths, peaks differ.

    (tally, tiles, params, facts, numbers, sizes (arms,), number of tiles, edges) -> tally
    """
    arms = [walks_of(family, shape, cells, warm) for family, shape in shapes]

    def fold(tally: Tally, tile: Array, params: Params, facts: Params, of: Any) -> Tally:
        numbers, sizes, tiles, edges = of
        arm, first, number = tile
        index = first + jnp.arange(TILE, dtype=jnp.uint32)
        branches = [
            lambda index, each=each, shift=shift: each(numbers, shift, index)
            for each, shift in zip(arms, numbers.shifts, strict=True)
        ]
        losses = losses_of(law, params, facts, jax.lax.switch(arm, branches, index))
        slots = number * np.uint32(TILE) + jnp.arange(TILE, dtype=jnp.uint32)
        real = (index < sizes[arm]) & (number < tiles)  # the others only fill up
        return add(tally, losses, slots, arm, real, edges)

    def block(tally: Tally, tiles: Array, params: Params, facts: Params, of: Any) -> Tally:
        mine = jax.tree.map(lambda row: row[0], tally)
        rows = [row[0] for row in tiles]
        found, _ = jax.lax.scan(
            lambda before, tile: (fold(before, tile, params, facts, of), None), mine, rows
        )
        stacked: Tally = jax.tree.map(lambda row: row[None], found)
        return stacked

    row: Any = PartitionSpec  # untyped
    split, whole = row(AXIS), row()
    over_devices = jax.shard_map(
        block,
        mesh=mesh,
        in_specs=(split, split, whole, whole, whole),
        out_specs=split,
        check_vma=False,
    )
    return jax.jit(over_devices, donate_argnums=0)


class Screen:
    """A law's candidates on some devices.

    Args:
        law: the law.
        space: the candidates.
        cells: a candidate is seen through.
        mesh: of the devices, of this process and of the others that run the same code.
        tiles: of each device in a block.
        kept: lowest scores to keep.
        edges: inner edges of the histogram: (bins - 1,).
        draws: parameters a candidate is evaluated under; the lowest loss under each is kept if
            there are several.
    """

    def __init__(
        self,
        law: Law,
        space: Space,
        *,
        cells: int,
        mesh: Mesh,
        tiles: int,
        kept: int,
        edges: NDArray[np.float32],
        draws: int,
    ) -> None:
        self.space, self.mesh, self.tiles, self.kept = space, mesh, tiles, kept
        self.draws = draws if draws > 1 else 0
        self.bins = len(edges) + 1
        row: Any = PartitionSpec
        self._split = NamedSharding(mesh, row(AXIS))
        self._of = (
            space.numbers(np.float32),
            np.array([arm.count for arm in space.arms], np.uint32),
            np.uint32(space.tiles),
            edges,
        )
        self._block = _compiled_block(law, _shapes(space), cells, space.warmup > 0, mesh)
        self._gather = jax.jit(lambda tally: tally, out_shardings=NamedSharding(mesh, row()))

    @property
    def block_tiles(self) -> int:
        """Tiles of all devices in a block."""
        return self.tiles * self.mesh.size

    def _put(self, table: NDArray[Any]) -> Array:
        """An array with a row a device, of which each process places its own."""
        return jax.make_array_from_callback(table.shape, self._split, lambda index: table[index])

    def start(self, tally: Tally | None = None) -> Tally:
        """A tally on the devices: empty, or one that is gone on from (on the first of them)."""
        nothing = empty(self.kept, len(self.space.arms), self.draws, self.bins)
        rows = [nothing] * self.mesh.size
        if tally is not None:
            rows[0] = tally
        placed: Tally = jax.tree.map(lambda *each: self._put(np.stack(each)), *rows)
        return placed

    def advance(self, tally: Tally, first: int, params: Params, facts: Params) -> Tally:
        """The tally with one more block, that of tile `first` on."""
        number = first + np.arange(self.block_tiles)
        # tiles past the last one only fill up: they go on in its arm
        arm, index = self.space.places(number * TILE)
        shape = (self.mesh.size, self.tiles)
        rows = [
            self._put(row.reshape(shape))
            for row in (
                arm.astype(np.int32),
                index.astype(np.uint32),
                number.astype(np.uint32),
            )
        ]
        found: Tally = self._block(tally, rows, params, facts, self._of)
        return found

    def collect(self, tally: Tally) -> Tally:
        """The tallies of all devices as one, in NumPy; every process gets it."""
        whole = self._gather(tally)
        return merge({each.name: np.asarray(getattr(whole, each.name)) for each in fields(Tally)})
