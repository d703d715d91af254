"""Tiles of candidates evaluated and tallied on a mesh of devices.

A tile is evaluated by the same compiled code whatever the block, the device or the number of
devices, so that a candidate's loss is the same bits everywhere. Each device folds its tiles into
its own tally; tallies meet only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from scaling_laws.laws import Law
from scaling_laws.numerics.history import History
from scaling_laws.screening.space import TILE, Arm, Space
from scaling_laws.screening.tally import Tally, add, empty, merge

__all__ = ["Screen", "histories_of", "losses_of", "mesh_of"]

Array = Any
AXIS = "devices"
MOST_PIECES = 5  # of a run: warm-up, three kinks after it
Params = Mapping[str, Array]


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """A row of devices."""
    return Mesh(np.array(devices), (AXIS,))


def histories_of(
    law: Law, space: Space, arm: Arm, cells: int
) -> Callable[[Params, Array], History]:
    """(facts, indices (candidates,)) -> the histories of an arm's candidates; traceable.

    They have one shape for all arms, so that the law itself is compiled once.
    """

    def one(facts: Params, index: Array) -> History:
        run, counts = space.walk(arm, index, cells)
        return law.last_of_pieces(run, counts, facts=facts, most_pieces=MOST_PIECES)

    return jax.vmap(one, in_axes=(None, 0))


def losses_of(law: Law, params: Params, histories: History) -> Array:
    """Losses under every draw: params (draws,) -> (draws, candidates); traceable."""
    return jax.vmap(
        lambda history: jax.vmap(lambda each: law.loss(each, history)[0])(params), out_axes=1
    )(histories)


class Screen:
    """A law's candidates on some devices; holds compiled code, no results.

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
        self.space, self.mesh, self.tiles = space, mesh, tiles
        self.draws = draws if draws > 1 else 0
        self.kept = kept
        self.bins = len(edges) + 1
        branches = [histories_of(law, space, arm, cells) for arm in space.arms]
        sizes = np.array([arm.count for arm in space.arms], np.uint32)

        def fold(tally: Tally, tile: Array, params: Params, facts: Params) -> Tally:
            arm, first, number = tile
            index = first + jnp.arange(TILE, dtype=jnp.uint32)
            losses = losses_of(law, params, jax.lax.switch(arm, branches, facts, index))
            slots = number * np.uint32(TILE) + jnp.arange(TILE, dtype=jnp.uint32)
            # an arm of -1 is a tile that only fills up a block
            real = (index < jnp.asarray(sizes)[arm]) & (number < np.uint32(space.tiles))
            return add(tally, losses, slots, arm, real, jnp.asarray(edges))

        def block(tally: Tally, tiles: Array, params: Params, facts: Params) -> Tally:
            mine = jax.tree.map(lambda row: row[0], tally)
            rows = [row[0] for row in tiles]
            found, _ = jax.lax.scan(
                lambda before, tile: (fold(before, tile, params, facts), None), mine, rows
            )
            stacked: Tally = jax.tree.map(lambda row: row[None], found)
            return stacked

        row: Any = PartitionSpec  # untyped
        split, whole = row(AXIS), row()
        self._split = NamedSharding(mesh, split)
        self._block = jax.jit(
            jax.shard_map(
                block,
                mesh=mesh,
                in_specs=(split, split, whole, whole),
                out_specs=split,
                check_vma=False,
            ),
            donate_argnums=0,
        )
        self._gather = jax.jit(lambda tally: tally, out_shardings=NamedSharding(mesh, whole))

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
        arm = self.space.arm_of_tiles(np.minimum(number, self.space.tiles - 1))
        begin = np.array([each.first_tile for each in self.space.arms])[arm]
        index = (number - begin) * TILE
        shape = (self.mesh.size, self.tiles)
        rows = [
            self._put(row.reshape(shape))
            for row in (
                arm.astype(np.int32),
                index.astype(np.uint32),
                number.astype(np.uint32),
            )
        ]
        found: Tally = self._block(tally, rows, params, facts)
        return found

    def collect(self, tally: Tally) -> Tally:
        """The tallies of all devices as one, in NumPy; every process gets it."""
        whole = self._gather(tally)
        return merge({each.name: np.asarray(getattr(whole, each.name)) for each in fields(Tally)})
