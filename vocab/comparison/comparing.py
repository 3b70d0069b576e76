"""Many initialisation methods on one setting: one source, one material, one target tokenizer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, ToolkitError, UsageError
from vocab.comparison.held_out import Evaluation, hold_out, warn_of_overlap
from vocab.comparison.leave_out import LeaveOut, Recreated
from vocab.comparison.live_model import LiveModel
from vocab.comparison.peak_memory import PeakMemory
from vocab.comparison.results import SHUFFLED, SOURCE, Comparison, MethodResult, in_order
from vocab.evaluation import retrieval
from vocab.materials.survey import within_limit
from vocab.methods import METHODS, constituents, mean, special
from vocab.methods.expression import Expression, parse_expression
from vocab.methods.recipes import FALLBACK_NOISE
from vocab.modes.choosing import kept_rows, new_tokenizer
from vocab.options import TransferOptions
from vocab.pipeline import CALLED, HOW_TO_GIVE, Prepared, lacking, prepare
from vocab.plan import Origin, TransferPlan
from vocab.planning import make_plans
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from vocab.resources.selection import Selection

_MAX_PAIRS = 2000
_MAX_SCORED_BYTES = 30_000


def compare(
    options: TransferOptions,
    *,
    methods: Sequence[str] = ("all",),
    evaluation: Evaluation | None = None,
    control: bool = False,
    deleted_share: float = 0.1,
    agree: Callable[[Selection], None] = within_limit,
    decisions: Decisions | None = None,
    progress: Progress | None = None,
    tell: Callable[[MethodResult], None] | None = None,
) -> Comparison:
    """Run many methods on one setting and measure each before any training.

    The material is read once, the target tokenizer and word vectors (where a method needs them and none are
    given) are trained once, and the model's body is loaded once; for each method only the rows with the
    vocabulary's dimension change, in memory.

    Parameters
    ----------
    options : TransferOptions
        The setting. ``method`` and ``head_method`` are not read.
    methods : sequence of str
        Expressions (see :mod:`vocab.methods.expression`); ``auto`` stands for what it would take here,
        ``all`` for that and every method of :data:`vocab.methods.METHODS` that has what it needs.
    evaluation : Evaluation, optional
        Pairs are retrieved (2,000 at most), their target side is scored in bits per byte (30,000 bytes at
        most, an even sample); text alone is scored only. By default a tenth of the material is held out.
    control : bool
        Also measure ``constituents`` with its new rows shuffled among the new tokens: rows of the same
        statistics without their content.
    deleted_share : float
        Of the source's tokens, for leave-tokens-out; 0 for none. See
        :class:`vocab.comparison.leave_out.LeaveOut`.
    agree, decisions, progress
        As for :func:`vocab.pipeline.prepare`.
    tell : callable, optional
        Hears each result as soon as there is one.

    Returns
    -------
    Comparison

    Raises
    ------
    ToolkitError
        For a setting that cannot be prepared. Where one method fails, its result says so and the others run.

    Notes
    -----
    Bits per byte before training rank methods poorly: rows that make a model say every token equally often
    score well and train badly. The first method that runs a compiled kernel on a machine pays for its
    compilation.
    """
    if options.mode == "trim":
        raise UsageError("nothing to compare: every row of a trimmed vocabulary is a copy")
    if not 0 <= deleted_share < 1:
        raise UsageError("the share of deleted tokens", got=deleted_share, wanted="0 <= share < 1")
    named = _named(methods)
    decisions, progress = decisions or Decisions(), progress or Progress()
    options = replace(options, method="auto" if None in named else "mean", head_method=None)
    prepared = prepare(options, agree=agree, decisions=decisions, progress=progress)
    chosen = dict.fromkeys(prepared.method if one is None else one for one in named)
    if evaluation is None:
        materials, evaluation = hold_out(prepared.materials, seed=options.seed)
        prepared = replace(prepared, materials=materials)
        decisions.add("evaluation", evaluation.where, "no evaluation text was given")
    else:
        warn_of_overlap(prepared.materials, evaluation)
    wanted = []
    left_out = []
    for expression in chosen:
        missing = lacking(expression, prepared.materials)
        if missing:
            called = " and ".join(CALLED[need] for need in missing)
            how = "; and ".join(HOW_TO_GIVE[need] for need in missing)
            left_out.append((str(expression), f"without {called}: {how}"))
        else:
            wanted.append(expression)
    if not wanted:
        raise UsageError("no method has what it needs", got="; ".join(map(": ".join, left_out)))
    bench = _Bench.of(prepared, wanted, evaluation, deleted_share)
    results: list[MethodResult] = []
    warned: set[str] = set()
    for name, measure in (
        (SOURCE, bench.source),
        *((str(expression), lambda e=expression: bench.method(e)) for expression in wanted),
        *(((SHUFFLED, bench.shuffled),) if control else ()),
    ):
        results.append(_once(warned, name, measure))
        if tell is not None:
            tell(results[-1])
    ordered, ordered_by = in_order(results)
    return Comparison(tuple(ordered), ordered_by, tuple(left_out), bench.facts, tuple(decisions.made))


def shuffled_constituents(source: Vocabulary, target: Vocabulary, *, seed: int) -> TransferPlan:
    """:func:`vocab.methods.constituents` with the rows it composed shuffled among their tokens: a control."""
    plan = constituents(source, target)
    rows = np.flatnonzero(plan.origins == Origin.COMPOSED)
    order = np.arange(plan.n_tgt)
    order[rows] = np.random.default_rng(seed).permutation(rows)
    return replace(plan, weights=plan.weights[order], method=SHUFFLED, options={SHUFFLED: {"seed": seed}})


def _once(warned: set[str], name: str, measure: Callable[[], MethodResult]) -> MethodResult:
    """Measure; what methods warn of is said once, with the name of the first that did."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = measure()
    for one in caught:
        if str(one.message) not in warned:
            warned.add(str(one.message))
            warnings.warn(f"{name}: {one.message}", one.category, stacklevel=3)
    return result


def _named(methods: Sequence[str]) -> list[Expression | None]:
    """The methods that are asked for; None stands for what ``auto`` takes."""
    names = [name.strip() for name in methods]
    names = [name for text in names for name in (("auto", *METHODS) if text == "all" else (text,))]
    if not names:
        raise UsageError("no method to compare", wanted="all, or names such as constituents")
    return [None if name == "auto" else parse_expression(name) for name in names]


@dataclass(eq=False)
class _Bench:
    """What the measurements of one comparison share."""

    prepared: Prepared
    target: Vocabulary
    kept: TransferPlan | None
    counts: NDArray[np.int64] | None
    evaluation: Evaluation
    scored: Evaluation
    original: LiveModel
    live: LiveModel
    leave_out: LeaveOut | None
    src_vectors: NDArray[np.float32] | None
    facts: dict[str, Any]
    notes: dict[str, str]

    @classmethod
    def of(
        cls, prepared: Prepared, wanted: Sequence[Expression], evaluation: Evaluation, deleted_share: float
    ) -> _Bench:
        options, progress, source = prepared.options, prepared.progress, prepared.source
        with progress.stage(
            "train the tokenizer" if options.named_tokenizer is None else "load the tokenizer"
        ):
            made = new_tokenizer(prepared)
        target = Vocabulary.of(made.tokenizer)
        kept = None if made.kept is None else kept_rows(source.vocabulary, target, made.kept)
        prepared = _with_vectors(prepared, wanted)
        text = prepared.materials.text
        counts = None
        if text:
            ids = np.fromiter((i for line in target.encode(text) for i in line), np.int64)
            counts = np.bincount(ids, minlength=len(target))
        facts: dict[str, Any] = {
            "source": source.name,
            "target": prepared.tgt_lang.code,
            "src_vocabulary": len(source.vocabulary),
            "tgt_vocabulary": len(target),
            "sentence_pairs": 0 if prepared.materials.parallel is None else len(prepared.materials.parallel),
            "text_lines": len(text),
        }
        leave_out = None
        if deleted_share:
            with progress.stage("delete tokens of the source"):
                leave_out = LeaveOut.of(prepared, share=deleted_share)
            facts["deleted_tokens"] = len(leave_out.deleted)
            facts["deleted_mean_row"] = leave_out.mean_row()
        with progress.stage("load the model"):
            device = prepared.device
            trust = options.trust_remote_code
            original = LiveModel.of_source(source, device=device, trust_remote_code=trust)
            live = LiveModel.for_target(source, made.tokenizer, device=device, trust_remote_code=trust)
        sample = evaluation.sample(_MAX_PAIRS)
        n_bytes = sum(len(line.encode()) for line in evaluation.tgt)
        scored = evaluation.sample(max(len(evaluation.tgt) * _MAX_SCORED_BYTES // max(n_bytes, 1), 1))
        facts["evaluation"] = sample.where
        facts["seconds"] = progress.seconds
        return cls(prepared, target, kept, counts, sample, scored, original, live, leave_out, None, facts, {})

    def source(self) -> MethodResult:
        """The untouched model; what cannot be measured on it is measured on none."""
        found, scored = None, None
        with self.prepared.progress.stage("evaluate the source model"):
            if self.evaluation.src is None:
                self.notes["retrieval"] = "the evaluation text has no translation"
            else:
                try:
                    self.src_vectors = self.original.embed(self.evaluation.src)
                    found = retrieval(self.src_vectors, self.original.embed(self.evaluation.tgt))
                except InputError as error:
                    self.notes["retrieval"] = error.what
            try:
                scored = self.original.score(self.scored.tgt)
                self.facts["scored_bytes"] = scored.n_bytes
            except InputError as error:
                self.notes["bits per byte"] = error.what
        self.facts["not_measured"] = dict(self.notes)
        return MethodResult(SOURCE, retrieval=found, bits_per_byte=scored)

    def method(self, expression: Expression) -> MethodResult:
        prepared = replace(self.prepared, method=expression)
        again: Callable[[], Recreated] | None = None
        lacks = "" if self.leave_out is None else self.leave_out.lacks(expression) or ""
        if self.leave_out is not None and not lacks:
            leave_out = self.leave_out
            again = lambda: leave_out.recreate(expression)  # noqa: E731
        note = f"tokens not recreated: {lacks}" if lacks else ""
        return self._measured(
            str(expression), lambda: make_plans(prepared, self.target, self.kept), again, note
        )

    def shuffled(self) -> MethodResult:
        seed = self.prepared.options.seed

        def chain(source: Vocabulary, target: Vocabulary, first: TransferPlan) -> TransferPlan:
            plan = first.then(shuffled_constituents(source, target, seed=seed))
            return plan.then(mean(source, target, noise=FALLBACK_NOISE, seed=seed))

        def plans() -> tuple[TransferPlan, None]:
            old = self.prepared.source.vocabulary
            return chain(old, self.target, self.kept or special(old, self.target)), None

        again: Callable[[], Recreated] | None = None
        if self.leave_out is not None:
            leave_out = self.leave_out
            reduced, whole = leave_out.kitchen.source, leave_out.kitchen.target
            again = lambda: leave_out.compare(chain(reduced, whole, special(reduced, whole)))  # noqa: E731
        return self._measured(SHUFFLED, plans, again, "")

    def _measured(
        self,
        name: str,
        plans: Callable[[], tuple[TransferPlan, TransferPlan | None]],
        again: Callable[[], Recreated] | None,
        note: str,
    ) -> MethodResult:
        try:
            with PeakMemory() as memory:
                start = time.perf_counter()
                plan, head_plan = plans()
                planned = time.perf_counter()
                self.live.put(plan, head_plan)
                applied = time.perf_counter()
            with self.prepared.progress.stage(f"evaluate {name}"):
                found = scored = None
                if self.src_vectors is not None:
                    found = retrieval(self.src_vectors, self.live.embed(self.evaluation.tgt))
                if "bits per byte" not in self.notes:
                    scored = self.live.score(self.scored.tgt)
            result = MethodResult(
                name,
                tuple(plan.summary(self.counts)),
                retrieval=found,
                bits_per_byte=scored,
                plan_s=planned - start,
                apply_s=applied - planned,
                peak_mib=memory.mib,
                note=note,
            )
        except ToolkitError as error:
            return MethodResult(name, note=error.message, failed=True)
        if again is None:
            return result
        try:
            with self.prepared.progress.stage(f"recreate tokens: {name}"):
                return replace(result, recreated=again())
        except ToolkitError as error:
            return replace(result, note=f"tokens not recreated: {error.message}")


def _with_vectors(prepared: Prepared, wanted: Sequence[Expression]) -> Prepared:
    """Train word vectors once for all methods that need them, unless they were given."""
    materials = prepared.materials
    needed = any("vectors" in expression.needs for expression in wanted)
    if not needed or materials.src_vectors is not None:
        return prepared
    from align.fasttext_training import train_fasttext

    prepared.decisions.add("vectors", "fastText trained on the given text", "none were given")
    with prepared.progress.stage("train word vectors"):
        src, tgt = train_fasttext(materials.src_text), train_fasttext(materials.text)
    return replace(prepared, materials=replace(materials, src_vectors=src, tgt_vectors=tgt))
