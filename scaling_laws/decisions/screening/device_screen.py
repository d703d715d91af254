"""Tiles of candidates evaluated and tallied on a mesh of devices.

A tile is evaluated by the same compiled code whatever the block, the device or the number of
devices, so that a candidate's loss is the same bits everywhere. Each device folds its tiles into
its own reducer; states meet only when they are asked for.
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
from scaling_laws.decisions.screening.reduction import ReducerState, add, empty, merge
from scaling_laws.models import Family, FinalOnSegments, Law, SampledSegments, SearchBox

__all__ = ["CandidateEvaluator", "facts_as", "losses_at", "mesh_of"]

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
    """(numbers, shift, indices (candidates,)) -> walks of an stratum's candidates; traceable.

    They have one form for all strata, so that the law itself is compiled once.
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
    """(params, facts, numbers, indices (strata, several)) -> losses (draws, strata·several)."""
    strata = [walks_of(family, shape, cells, warm) for family, shape in shapes]

    def rows(params: Params, facts: Params, numbers: Numbers, indices: Array) -> Array:
        parts = [
            each(numbers, shift, index)
            for each, shift, index in zip(strata, numbers.shifts, indices, strict=True)
        ]
        every = jax.tree.map(lambda *part: jnp.concatenate(part), *parts)
        return losses_of(law, params, facts, every)

    return jax.jit(rows)


def losses_at(
    law: Law, space: Space, candidate_ids: Sequence[int], params: Params, facts: Params, cells: int
) -> NDArray[Any]:
    """Losses of some candidates, in the type of the params: (draws,) -> (draws, candidates)."""
    dtype = next(iter(params.values())).dtype.type
    strata, indices = space.locate(np.asarray(candidate_ids, np.int64))
    columns = np.array(
        [np.count_nonzero(strata[:place] == stratum) for place, stratum in enumerate(strata)]
    )
    size = 1 << int(columns.max()).bit_length()  # few sizes, few compilations
    table = np.zeros((len(space.strata), size), np.uint32)
    table[strata, columns] = indices
    compiled = _compiled_rows(law, _shapes(space), cells, space.warmup > 0)
    found = np.asarray(compiled(params, facts_as(facts, dtype), space.numbers(dtype), table))
    return found[:, strata * size + columns]


def _shapes(space: Space) -> tuple[tuple[Family, SearchBox], ...]:
    return tuple((stratum.family, stratum.shape) for stratum in space.strata)


@cache
def _compiled_block(
    law: Law, shapes: tuple[tuple[Family, SearchBox], ...], cells: int, warm: bool, mesh: Mesh
) -> Any:
    """Compiled once for a law, a set of shapes and sizes of arrays: seeds, lengths, peaks differ.

    (reducer, tiles, params, facts, numbers, sizes (strata,), number of tiles, edges) -> reducer
    """
    strata = [walks_of(family, shape, cells, warm) for family, shape in shapes]

    def fold(
        reducer: ReducerState, tile: Array, params: Params, facts: Params, of: Any
    ) -> ReducerState:
        numbers, sizes, tiles, edges = of
        stratum, first, number = tile
        index = first + jnp.arange(TILE, dtype=jnp.uint32)
        branches = [
            lambda index, each=each, shift=shift: each(numbers, shift, index)
            for each, shift in zip(strata, numbers.shifts, strict=True)
        ]
        losses = losses_of(law, params, facts, jax.lax.switch(stratum, branches, index))
        candidate_ids = number * np.uint32(TILE) + jnp.arange(TILE, dtype=jnp.uint32)
        real = (index < sizes[stratum]) & (number < tiles)  # the others only fill up
        return add(reducer, losses, candidate_ids, stratum, real, edges)

    def block(
        reducer: ReducerState, tiles: Array, params: Params, facts: Params, of: Any
    ) -> ReducerState:
        own_state = jax.tree.map(lambda row: row[0], reducer)
        rows = [row[0] for row in tiles]
        found, _ = jax.lax.scan(
            lambda before, tile: (fold(before, tile, params, facts, of), None), own_state, rows
        )
        stacked: ReducerState = jax.tree.map(lambda row: row[None], found)
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


class CandidateEvaluator:
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
        self.cells, self.edges = cells, edges
        self.draws = draws if draws > 1 else 0
        self.bins = len(edges) + 1
        row: Any = PartitionSpec
        self._split = NamedSharding(mesh, row(AXIS))
        self._of = (
            space.numbers(np.float32),
            np.array([stratum.count for stratum in space.strata], np.uint32),
            np.uint32(space.tiles),
            edges,
        )
        self._block = _compiled_block(law, _shapes(space), cells, space.warmup > 0, mesh)
        self._gather = jax.jit(lambda reducer: reducer, out_shardings=NamedSharding(mesh, row()))

    @property
    def block_tiles(self) -> int:
        """Tiles of all devices in a block."""
        return self.tiles * self.mesh.size

    def _put(self, table: NDArray[Any]) -> Array:
        """An array with a row a device, of which each process places its own."""
        return jax.make_array_from_callback(table.shape, self._split, lambda index: table[index])

    def start(self, reducer: ReducerState | None = None) -> ReducerState:
        """A reducer on the devices: empty, or one that is gone on from (on the first of them)."""
        nothing = empty(self.kept, len(self.space.strata), self.draws, self.bins)
        rows = [nothing] * self.mesh.size
        if reducer is not None:
            rows[0] = reducer
        placed: ReducerState = jax.tree.map(lambda *each: self._put(np.stack(each)), *rows)
        return placed

    def advance(
        self, reducer: ReducerState, first: int, params: Params, facts: Params
    ) -> ReducerState:
        """The reducer with one more block, that of tile `first` on."""
        number = first + np.arange(self.block_tiles)
        # tiles past the last one only fill up: they go on in its stratum
        stratum, index = self.space.locate(number * TILE)
        shape = (self.mesh.size, self.tiles)
        rows = [
            self._put(row.reshape(shape))
            for row in (
                stratum.astype(np.int32),
                index.astype(np.uint32),
                number.astype(np.uint32),
            )
        ]
        found: ReducerState = self._block(reducer, rows, params, facts, self._of)
        return found

    def collect(self, reducer: ReducerState) -> ReducerState:
        """The states of all devices as one, in NumPy; every process gets it."""
        whole = self._gather(reducer)
        return merge(
            {each.name: np.asarray(getattr(whole, each.name)) for each in fields(ReducerState)}
        )
