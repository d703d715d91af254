"""The screen: how many cells, the tiles block by block, and a second look at the lowest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, ScalingLawsError, UsageError, check_writable
from scaling_laws.decisions.screening.candidate_space import check_frame, space_of
from scaling_laws.decisions.screening.cell_choice import as_arrays, choose_cells
from scaling_laws.decisions.screening.cluster import Cluster, join
from scaling_laws.decisions.screening.device_screen import Screen, facts_as, mesh_of
from scaling_laws.decisions.screening.finalists import finalists_of
from scaling_laws.decisions.screening.reduction import Tally
from scaling_laws.decisions.screening.screen_state import load_state, save_state
from scaling_laws.decisions.screening.screening_result import Screening
from scaling_laws.inference import CurveFit, check_needs, check_peaks, facts_for, require_curve_fit

__all__ = ["LostProcess", "screen"]

TOLERANCE = 5e-5  # nats between the screen and the full length
KEPT = 256  # lowest scores that are looked at again, at least
BINS = 256
TILES = 32  # of a device in a block: what a kill may cost, and how often progress is shown
MEETINGS = 16  # blocks between two moments at which the devices' tallies are put together
BINS_BEYOND = 0.1  # of the sample's range, to either side of it


class LostProcess(ScalingLawsError, RuntimeError):
    """Another process of the cluster has died; what was saved is still there."""


def screen(
    fitted: CurveFit,
    *,
    steps: int,
    peak: float | tuple[float, float],
    candidates: int,
    warmup: int = 0,
    end_min: float = 0.0,
    families: Sequence[str] | None = None,
    top: int = 20,
    draws: int = 0,
    facts: Mapping[str, float] | None = None,
    tolerance: float = TOLERANCE,
    devices: int | None = None,
    block: int = TILES,
    cluster: Cluster | None = None,
    state: Path | str | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Screening:
    """Evaluate very many schedules and keep the best.

    Candidates are members of the registered families, numbered points of their shapes' boxes, made
    on the device from their number and seen through a few cells in float32. The lowest are looked
    at again at full length in float64. A candidate's score does not depend on `block`, `devices`
    or the cluster, so neither does the result.

    Args:
        fitted: the law.
        steps: total steps, warm-up included.
        peak: peak learning rate; or the lowest and highest to search, for a law that was fitted to
            runs of several peaks.
        candidates: how many schedules.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate allowed after the warm-up.
        families: whose shapes are filled; default all that have any.
        top: how many are ranked in the result.
        draws: evaluate each candidate under so many of the fit's draws, and rank by the mean; 0:
            under the fit alone. The cost is in proportion.
        facts: numbers of the run that override those of the fit.
        tolerance: nats that the screen may differ from the full length, over a sample.
        devices: how many of this process's; default all.
        block: tiles of 1,024 candidates that a device evaluates at a time.
        cluster: processes that share the work; each calls this with the same arguments, and each
            gets the result.
        state: file in which the tally is kept, to go on from after a kill; on a file system that
            all processes see.
        seed: of the points.
        report: told of the progress.

    Raises:
        UsageError: if the numbers do not go together, or `state` belongs to another screen.
        LawError: if the law cannot be seen through cells, or lacks a fact, or has too few draws.
        LostProcess: if another process has died.
    """
    started = time.perf_counter()
    say = report or (lambda line: None)
    law = require_curve_fit(fitted).law
    known = facts_for(fitted, facts)
    if not law.accepts_cells:
        raise LawError(
            f"{law.name} needs every step of a schedule, so it cannot be screened; take "
            "scaling-laws optimize, or another law"
        )
    check_needs(law, known, {}, "the law file")
    peaks = check_peaks(fitted, peak) if isinstance(peak, tuple) else (float(peak), float(peak))
    check_frame(steps, warmup, end_min, peaks)
    _check_counts(fitted, top=top, draws=draws, tolerance=tolerance, block=block)
    file = None if state is None else check_writable(state)
    mine, processes = (0, 1) if cluster is None else join(cluster)
    space = space_of(
        candidates=candidates,
        steps=steps,
        warmup=warmup,
        end_min=end_min,
        peak=peaks,
        families=families,
        seed=seed,
    )
    say("comparing a sample with the full length")
    cells, disagreement, sample = choose_cells(fitted, space, known, tolerance)
    edges = _edges(sample)
    kept = min(max(KEPT, 4 * top), space.candidates)
    begun = time.perf_counter()
    machine = Screen(
        law,
        space,
        cells=cells,
        mesh=mesh_of(_devices(devices, processes)),
        tiles=block,
        kept=kept,
        edges=edges,
        draws=max(draws, 1),
    )
    params, given = as_arrays(fitted, draws), facts_as(known, np.float32)
    settings = {
        "law": law.name,
        "parameters": _digest(params),
        "facts": {name: known[name] for name in sorted(law.required_facts & set(known))},
        "steps": steps,
        "warmup": warmup,
        "end_min": end_min,
        "peak": list(peaks),
        "candidates": candidates,
        "shapes": [arm.shape.label for arm in space.arms],
        "draws": draws,
        "cells": cells,
        "kept": kept,
        "edges": _digest({"edges": edges}),
        "seed": seed,
    }
    keep = None if file is None else (lambda done, part: save_state(file, settings, done, part))
    stored = None if file is None else load_state(file, settings)
    tally = _run(machine, params, given, stored, keep if mine == 0 else None, say)
    seconds = time.perf_counter() - begun
    say("looking at the lowest again, at full length")
    found = finalists_of(fitted, space, tally, known, cells=cells, top=top, draws=draws)
    return Screening(
        law=law.name,
        **found,
        candidates=space.candidates,
        refused=int(tally.refused),
        cells=cells,
        disagreement=disagreement,
        kept=kept,
        edges=edges,
        counts=np.asarray(tally.counts, np.int64),
        draws=max(draws, 1),
        devices=machine.mesh.size,
        processes=processes,
        seed=seed,
        seconds=seconds,
        total_seconds=time.perf_counter() - started,
    )


def _run(
    machine: Screen,
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
    stored: tuple[int, Tally] | None,
    keep: Callable[[int, Tally], None] | None,
    say: Callable[[str], None],
) -> Tally:
    """All tiles, from where a stored tally ends."""
    space = machine.space
    done, before = stored if stored is not None else (0, None)
    began, saved = time.perf_counter(), done
    tally = machine.start(before)
    together = before
    try:
        for number, first in enumerate(range(done, space.tiles, machine.block_tiles), 1):
            tally = machine.advance(tally, first, params, facts)
            tally.refused.block_until_ready()
            done = min(first + machine.block_tiles, space.tiles)
            if number % MEETINGS == 0:  # the same in every process: they meet here
                together = machine.collect(tally)
                if keep is not None:
                    keep(done, together)
            spent = time.perf_counter() - began
            left = spent * (space.tiles - done) / max(done - saved, 1)
            say(f"{done / space.tiles:.0%} of {space.candidates:,} schedules, {left:.0f} s left")
        together = machine.collect(tally)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise LostProcess(
            f"another process of the screen is gone ({str(error).splitlines()[0]}); start all of "
            "them again with the same command"
            + (": they go on from the state that was kept" if keep is not None else "")
        ) from error
    if keep is not None:
        keep(done, together)
    return together


def _devices(count: int | None, processes: int) -> list[Any]:
    """The devices to use: all of all processes, or the first of this one."""
    if processes > 1:
        if count is not None and count != jax.local_device_count():
            raise UsageError(f"devices={count}: processes that work together use all of theirs")
        every: list[Any] = jax.devices()
        return every
    local: list[Any] = jax.local_devices()
    if count is None:
        return local
    if not 1 <= count <= len(local):
        raise UsageError(
            f"devices={count}: this process has {len(local)} ({local[0].platform}); give at most "
            "that, or start more processes"
        )
    return local[:count]


def _check_counts(fitted: CurveFit, *, top: int, draws: int, tolerance: float, block: int) -> None:
    if top < 1 or block < 1:
        raise UsageError(f"top={top} and block={block} must be at least 1")
    if not tolerance > 0:
        raise UsageError(f"tolerance={tolerance:g} must be above 0")
    if draws < 0 or draws == 1 or draws > fitted.draw_count:
        raise LawError(
            f"draws={draws} must be 0, or from 2 to the {fitted.draw_count} that the law file has"
            + ("" if fitted.draw_count else "; fit the law to get some")
        )


def _edges(sample: NDArray[np.float64]) -> NDArray[np.float32]:
    """Inner edges of the histogram: around the losses of the sample."""
    fine = sample[np.isfinite(sample)]
    low, high = float(fine.min()), float(fine.max())
    reach = max(high - low, 1e-3) * BINS_BEYOND
    return np.linspace(low - reach, high + reach, BINS - 1).astype(np.float32)


def _digest(arrays: Mapping[str, Any]) -> str:
    content = b"".join(
        name.encode() + np.ascontiguousarray(row).tobytes() for name, row in sorted(arrays.items())
    )
    return hashlib.sha256(content).hexdigest()[:16]
