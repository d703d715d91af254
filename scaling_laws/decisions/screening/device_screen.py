"""Tiles of candidates evaluated and reduced on a mesh of devices.

A tile is evaluated by the same compiled code for every block size, device and number of devices,
so a candidate's loss is bitwise the same everywhere. Each device folds its tiles into a separate
reducer state; the states are merged only on request.
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

from scaling_laws.decisions.screening.candidate_space import (
    TILE,
    Space,
    SpaceValues,
    sample_candidate,
)
from scaling_laws.decisions.screening.reduction import ReducerState, add, empty, merge
from scaling_laws.models import Family, FinalOnSegments, Law, SampledSegments, SearchBox

__all__ = ["CandidateEvaluator", "facts_as", "losses_at", "mesh_of"]

Array = Any
AXIS = "devices"
Params = Mapping[str, Array]


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """A one-dimensional mesh of devices."""
    return Mesh(np.array(devices), (AXIS,))


def facts_as(facts: Mapping[str, float], dtype: Any) -> dict[str, Any]:
    """Facts as scalars of a dtype."""
    return {name: dtype(value) for name, value in facts.items()}


def sampler_of(
    family: Family, shape: SearchBox, cells: int, warm: bool
) -> Callable[[SpaceValues, Array, Array], SampledSegments]:
    """(values, shift, indices (candidates,)) -> a stratum's candidates on cells; traceable.

    The array shapes are the same for all strata, so the law itself is compiled once.
    """

    def sample(values: SpaceValues, shift: Array, index: Array) -> SampledSegments:
        return sample_candidate(family, shape, values, shift, index, cells, warm)

    return jax.vmap(sample, in_axes=(None, None, 0))


def losses_of(law: Law, params: Params, facts: Params, runs: SampledSegments) -> Array:
    """Losses under the draws: params (draws,) -> (draws, candidates); traceable."""

    def losses_of_run(run: SampledSegments) -> Array:
        history = law.history(FinalOnSegments(run), run.lr, facts=facts)
        return jax.vmap(lambda draw: law.loss(draw, history)[0])(params)

    losses: Array = jax.vmap(losses_of_run, out_axes=1)(runs)
    return losses


@cache
def _compiled_rows(
    law: Law, shapes: tuple[tuple[Family, SearchBox], ...], cells: int, warm: bool
) -> Any:
    """(params, facts, values, indices (strata, columns)) -> losses (draws, strata·columns)."""
    samplers = [sampler_of(family, shape, cells, warm) for family, shape in shapes]

    def rows(params: Params, facts: Params, values: SpaceValues, indices: Array) -> Array:
        runs_by_stratum = [
            sample(values, shift, index)
            for sample, shift, index in zip(samplers, values.shifts, indices, strict=True)
        ]
        runs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *runs_by_stratum)
        return losses_of(law, params, facts, runs)

    return jax.jit(rows)


def losses_at(
    law: Law, space: Space, candidate_ids: Sequence[int], params: Params, facts: Params, cells: int
) -> NDArray[Any]:
    """Losses of some candidates, in the dtype of the params: (draws,) -> (draws, candidates)."""
    dtype = next(iter(params.values())).dtype.type
    strata, indices = space.locate(np.asarray(candidate_ids, np.int64))
    columns = np.array(
        [np.count_nonzero(strata[:i] == stratum) for i, stratum in enumerate(strata)]
    )
    size = 1 << int(columns.max()).bit_length()  # powers of two: few compilations
    table = np.zeros((len(space.strata), size), np.uint32)
    table[strata, columns] = indices
    compiled = _compiled_rows(law, _shapes(space), cells, space.warmup > 0)
    losses = np.asarray(compiled(params, facts_as(facts, dtype), space.values(dtype), table))
    return losses[:, strata * size + columns]


def _shapes(space: Space) -> tuple[tuple[Family, SearchBox], ...]:
    return tuple((stratum.family, stratum.shape) for stratum in space.strata)


@cache
def _compiled_block(
    law: Law, shapes: tuple[tuple[Family, SearchBox], ...], cells: int, warm: bool, mesh: Mesh
) -> Any:
    """Compiled once per law, set of shapes and array sizes, for all seeds, lengths and peaks.

    (reducer, tiles, params, facts, (values, sizes (strata,), number of tiles, edges)) -> reducer
    """
    samplers = [sampler_of(family, shape, cells, warm) for family, shape in shapes]

    def fold(
        reducer: ReducerState, tile: Array, params: Params, facts: Params, inputs: Any
    ) -> ReducerState:
        values, sizes, tiles, edges = inputs
        stratum, first, number = tile
        index = first + jnp.arange(TILE, dtype=jnp.uint32)
        branches = [
            lambda index, sample=sample, shift=shift: sample(values, shift, index)
            for sample, shift in zip(samplers, values.shifts, strict=True)
        ]
        losses = losses_of(law, params, facts, jax.lax.switch(stratum, branches, index))
        candidate_ids = number * np.uint32(TILE) + jnp.arange(TILE, dtype=jnp.uint32)
        valid = (index < sizes[stratum]) & (number < tiles)  # the others are padding
        return add(reducer, losses, candidate_ids, stratum, valid, edges)

    def block(
        reducer: ReducerState, tiles: Array, params: Params, facts: Params, inputs: Any
    ) -> ReducerState:
        local_state = jax.tree.map(lambda row: row[0], reducer)
        rows = [row[0] for row in tiles]
        final_state, _ = jax.lax.scan(
            lambda state, tile: (fold(state, tile, params, facts, inputs), None), local_state, rows
        )
        stacked: ReducerState = jax.tree.map(lambda row: row[None], final_state)
        return stacked

    spec: Any = PartitionSpec  # untyped
    sharded, replicated = spec(AXIS), spec()
    over_devices = jax.shard_map(
        block,
        mesh=mesh,
        in_specs=(sharded, sharded, replicated, replicated, replicated),
        out_specs=sharded,
        check_vma=False,
    )
    return jax.jit(over_devices, donate_argnums=0)


class CandidateEvaluator:
    """Evaluates a law's candidates on a mesh of devices.

    Args:
        law: the law.
        space: the candidates.
        cells: per candidate.
        mesh: of the devices of all processes.
        tiles: per device and block.
        kept: number of lowest scores to keep.
        edges: inner edges of the histogram: (bins - 1,).
        draws: number of parameter vectors per candidate; if there are several, the lowest loss
            under each is kept.
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
        spec: Any = PartitionSpec
        self._sharding = NamedSharding(mesh, spec(AXIS))
        self._inputs = (
            space.values(np.float32),
            np.array([stratum.count for stratum in space.strata], np.uint32),
            np.uint32(space.tiles),
            edges,
        )
        self._block = _compiled_block(law, _shapes(space), cells, space.warmup > 0, mesh)
        self._gather = jax.jit(lambda reducer: reducer, out_shardings=NamedSharding(mesh, spec()))

    @property
    def block_tiles(self) -> int:
        """Tiles per block, over all devices."""
        return self.tiles * self.mesh.size

    def _put(self, table: NDArray[Any]) -> Array:
        """A sharded array with one row per device; each process provides those of its devices."""
        return jax.make_array_from_callback(table.shape, self._sharding, lambda index: table[index])

    def empty_state(self) -> ReducerState:
        """The state without candidates."""
        return empty(self.kept, len(self.space.strata), self.draws, self.bins)

    def start(self, reducer: ReducerState | None = None) -> ReducerState:
        """The initial states on the devices: empty, or the first one resumed from `reducer`."""
        rows = [self.empty_state()] * self.mesh.size
        if reducer is not None:
            rows[0] = reducer
        sharded: ReducerState = jax.tree.map(lambda *leaves: self._put(np.stack(leaves)), *rows)
        return sharded

    def advance(
        self, reducer: ReducerState, first: int, params: Params, facts: Params
    ) -> ReducerState:
        """Add the block that starts with tile `first`."""
        number = first + np.arange(self.block_tiles)
        # tiles beyond the last one are padding, counted in the last stratum
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
        state: ReducerState = self._block(reducer, rows, params, facts, self._inputs)
        return state

    def collect(self, reducer: ReducerState) -> ReducerState:
        """The merged state of all devices, as NumPy arrays, in every process."""
        states = self._gather(reducer)
        return merge(
            {field.name: np.asarray(getattr(states, field.name)) for field in fields(ReducerState)}
        )
