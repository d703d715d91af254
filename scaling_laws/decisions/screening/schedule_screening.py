"""The screen: choice of cells, evaluation block by block, and rescoring of the lowest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import (
    ExtrapolationWarning,
    LawError,
    ScalingLawsError,
    UsageError,
    check_writable,
    report_progress,
    warn,
)
from scaling_laws.decisions.constraints import (
    ScheduleConstraints,
    check_peak_range,
    constraints_from,
)
from scaling_laws.decisions.screening.candidate_space import space_of
from scaling_laws.decisions.screening.cell_choice import as_arrays, choose_cells
from scaling_laws.decisions.screening.cluster import Cluster, join
from scaling_laws.decisions.screening.device_screen import CandidateEvaluator, facts_as, mesh_of
from scaling_laws.decisions.screening.finalists import finalists_of
from scaling_laws.decisions.screening.reduction import ReducerState
from scaling_laws.decisions.screening.screen_state import StateFile
from scaling_laws.decisions.screening.screening_result import Screening
from scaling_laws.inference import CurveFit, check_needs, facts_for, require_curve_fit
from scaling_laws.models import Law

__all__ = ["LostProcess", "screen"]

TOLERANCE = 5e-5  # nats between the screen and the full length
MIN_KEPT = 256  # lowest scores that are rescored, at least
BINS = 256
TILES = 32  # per device and block: the interval between progress reports
BLOCKS_PER_MERGE = 16  # blocks after which the reducer states of all devices are merged and saved
HISTOGRAM_MARGIN = 0.1  # on either side of the sample, as a share of its range
SUPPORTED = ("steps", "peak", "warmup", "end_min")  # constraints


class LostProcess(ScalingLawsError, RuntimeError):
    """Another process of the cluster has died; the stored state remains valid."""


def screen(
    fitted: CurveFit,
    *,
    steps: int | None = None,
    peak: float | tuple[float, float] | None = None,
    candidates: int,
    warmup: int = 0,
    end_min: float = 0.0,
    constraints: ScheduleConstraints | None = None,
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
) -> Screening:
    """Evaluate a very large number of schedules and keep the best.

    Candidates are quasi-random members of the registered families, generated on the device from
    their number and evaluated on a few cells in float32. The lowest are rescored at full length in
    float64. A candidate's score does not depend on `block`, `devices` or the cluster, so neither
    does the result.

    Args:
        fitted: the law.
        steps: total steps, warm-up included.
        peak: peak learning rate; or the lowest and highest to search, for a law that was fitted to
            runs with several peaks.
        candidates: how many schedules.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate allowed after the warm-up.
        constraints: the above as one `ScheduleConstraints`; others are not supported.
        families: whose shapes are sampled; default all that have any.
        top: how many are ranked in the result.
        draws: evaluate each candidate under this many of the fit's draws, and rank by the mean; 0:
            under the fit only. The cost is proportional to it.
        facts: facts of the run that override those of the fit.
        tolerance: largest difference between the screen and the full length over a sample, in nats.
        devices: number of devices of this process; default all.
        block: tiles of 1,024 candidates that a device evaluates at a time.
        cluster: processes that share the work; all call this function with the same arguments and
            get the same result.
        state: file that stores the progress, from which an interrupted screen resumes; on a file
            system shared by all processes.
        seed: of the points.

    Raises:
        UsageError: if the arguments contradict each other, or `state` belongs to another screen.
        LawError: if the law cannot be evaluated on cells, lacks a fact, or has too few draws.
        LostProcess: if another process has died.
    """
    started = time.perf_counter()
    limits = constraints_from(constraints, steps=steps, peak=peak, warmup=warmup, end_min=end_min)
    limits.require_only("screen", SUPPORTED, "; use optimize, which does")
    known = _facts(fitted, facts)
    if isinstance(limits.peak, tuple):
        check_peak_range(fitted, limits.peak)
    _check_counts(fitted, top=top, draws=draws, tolerance=tolerance, block=block)
    file = None if state is None else check_writable(state)
    rank, processes = (0, 1) if cluster is None else join(cluster)
    space = space_of(
        candidates=candidates,
        steps=limits.steps,
        warmup=limits.warmup,
        end_min=limits.end_min,
        peak=limits.peak_range,
        families=families,
        seed=seed,
    )
    report_progress("comparing a sample with the full length")
    cells, disagreement, sample = choose_cells(fitted, space, known, tolerance)
    edges = _edges(sample)
    screen_started = time.perf_counter()
    evaluator = CandidateEvaluator(
        fitted.law,
        space,
        cells=cells,
        mesh=mesh_of(_devices(devices, processes)),
        tiles=block,
        kept=min(max(MIN_KEPT, 4 * top), space.candidates),
        edges=edges,
        draws=max(draws, 1),
    )
    params = as_arrays(fitted, draws)
    store = None
    if file is not None:
        settings = _settings(fitted.law, evaluator, params, known, candidates, draws, seed)
        store = StateFile(file, settings, writes=rank == 0)
    reducer = _run(evaluator, params, facts_as(known, np.float32), store)
    seconds = time.perf_counter() - screen_started
    report_progress("evaluating the lowest at full length")
    finalists = finalists_of(fitted, space, reducer, known, cells=cells, top=top, draws=draws)
    for note in finalists["notes"]:
        warn(note, ExtrapolationWarning)
    return Screening(
        law=fitted.law.name,
        **finalists,
        candidates=space.candidates,
        n_nonfinite=int(reducer.n_nonfinite),
        cells=cells,
        disagreement=disagreement,
        kept=evaluator.kept,
        edges=edges,
        counts=np.asarray(reducer.counts, np.int64),
        draws=max(draws, 1),
        devices=evaluator.mesh.size,
        processes=processes,
        seed=seed,
        seconds=seconds,
        total_seconds=time.perf_counter() - started,
    )


def _facts(fitted: CurveFit, facts: Mapping[str, float] | None) -> dict[str, float]:
    """The facts of the run, after checking that the law can be screened with them."""
    law = require_curve_fit(fitted).law
    known = facts_for(fitted, facts)
    if not law.accepts_cells:
        raise LawError(
            f"{law.name} needs every step of a schedule, so it cannot be screened; use "
            "scaling-laws optimize, or another law"
        )
    check_needs(law, known, {}, "the law file")
    return known


def _settings(
    law: Law,
    evaluator: CandidateEvaluator,
    params: Mapping[str, Any],
    facts: Mapping[str, float],
    candidates: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """The settings that a stored state must have."""
    space = evaluator.space
    return {
        "law": law.name,
        "parameters": _digest(params),
        "facts": {name: facts[name] for name in sorted(law.required_facts & set(facts))},
        "steps": space.steps,
        "warmup": space.warmup,
        "end_min": space.end_min,
        "peak": list(space.peak),
        "candidates": candidates,
        "shapes": [stratum.shape.label for stratum in space.strata],
        "draws": draws,
        "cells": evaluator.cells,
        "kept": evaluator.kept,
        "edges": _digest({"edges": evaluator.edges}),
        "seed": seed,
    }


def _run(
    evaluator: CandidateEvaluator,
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
    store: StateFile | None,
) -> ReducerState:
    """Evaluate all tiles that a stored state does not contain."""
    space = evaluator.space
    done, merged = (0, None) if store is None else store.load(evaluator.empty_state(), space.tiles)
    reducer = evaluator.start(merged)
    try:
        for number, first in enumerate(range(done, space.tiles, evaluator.block_tiles), 1):
            reducer = evaluator.advance(reducer, first, params, facts)
            reducer.n_nonfinite.block_until_ready()
            done = min(first + evaluator.block_tiles, space.tiles)
            if number % BLOCKS_PER_MERGE == 0:  # a collective operation of all processes
                merged = evaluator.collect(reducer)
                if store is not None:
                    store.save(done, merged)
            report_progress(f"{space.candidates:,} schedules: tiles", done, space.tiles)
        merged = evaluator.collect(reducer)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise LostProcess(
            f"a worker process died ({str(error).splitlines()[0]}); restart all processes with the "
            "same command" + ("; they resume from the stored state" if store is not None else "")
        ) from error
    if store is not None:
        store.save(done, merged)
    return merged


def _devices(count: int | None, processes: int) -> list[Any]:
    """The devices to use: all of a cluster, or the first of this process."""
    if processes > 1:
        if count is not None and count != jax.local_device_count():
            raise UsageError(f"devices={count}: the processes of a cluster use all their devices")
        all_devices: list[Any] = jax.devices()
        return all_devices
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
            + ("" if fitted.draw_count else "; fit the law with draws")
        )


def _edges(sample: NDArray[np.float64]) -> NDArray[np.float32]:
    """Inner edges of the histogram: around the losses of the sample."""
    finite = sample[np.isfinite(sample)]
    low, high = float(finite.min()), float(finite.max())
    margin = max(high - low, 1e-3) * HISTOGRAM_MARGIN
    return np.linspace(low - margin, high + margin, BINS - 1).astype(np.float32)


def _digest(arrays: Mapping[str, Any]) -> str:
    content = b"".join(
        name.encode() + np.ascontiguousarray(row).tobytes() for name, row in sorted(arrays.items())
    )
    return hashlib.sha256(content).hexdigest()[:16]
