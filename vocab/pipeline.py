"""A transfer from end to end: names or loaded objects in, a result that saves itself as a model directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from align.errors import UnavailableError, UsageError
from align.threads import set_threads
from vocab.languages import Language, language
from vocab.materials.gathering import Materials, gather
from vocab.materials.survey import survey, within_limit
from vocab.methods import Need, choose_method
from vocab.methods.expression import Expression, parse_expression
from vocab.modes.choosing import kept_rows, new_tokenizer
from vocab.options import TransferOptions
from vocab.plan import Origin, TransferPlan
from vocab.plan.rows import OriginShare, RowExplanation
from vocab.planning import make_plans
from vocab.progress import Decision, Decisions, Progress
from vocab.source_model import Source, find_source, source_at_hand
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from align.lexicon import Lexicon
    from vocab.model_files.output import WrittenModel
    from vocab.resources.selection import Selection
    from vocab.tokenizer.report import TokenizerReport

_N_EXAMPLES = 12
_REPORT_LINES = 4096  # figures of more lines differ in the third digit and cost seconds


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything read and decided before the work begins; what ``--dry-run`` shows."""

    options: TransferOptions
    source: Source
    src_lang: Language
    tgt_lang: Language
    materials: Materials
    method: Expression
    head_method: Expression | None
    device: str
    decisions: Decisions
    progress: Progress


@dataclass(frozen=True, eq=False)
class TransferResult:
    """A transfer, ready to be saved.

    Parameters
    ----------
    plan : TransferPlan
    head_plan : TransferPlan or None
        Of the output head and its biases, where it is another.
    tokenizer : PreTrainedTokenizerFast
        The new tokenizer.
    origins : list of OriginShare
        Rows by origin, weighted by how often the target text uses them too.
    before, after : TokenizerReport or None
        The old and the new tokenizer on an even sample of the target text; None where there is no text.
    examples : list of RowExplanation
        Frequent new tokens and the old tokens they are made of.
    decisions : list of Decision
    seconds : mapping
        Wall seconds by stage.
    """

    plan: TransferPlan
    head_plan: TransferPlan | None
    tokenizer: PreTrainedTokenizerFast
    origins: list[OriginShare]
    before: TokenizerReport | None
    after: TokenizerReport | None
    examples: list[RowExplanation]
    prepared: Prepared = field(repr=False)
    named: Path | None = None

    @property
    def decisions(self) -> list[Decision]:
        """What the run decided by itself, in order."""
        return self.prepared.decisions.made

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall seconds by stage so far."""
        return self.prepared.progress.seconds

    def save(self, folder: str | Path, *, overwrite: bool = False) -> WrittenModel:
        """Write the finished model directory: see :func:`vocab.model_files.output.write_model_directory`."""
        from vocab.model_files.card import model_card, provenance
        from vocab.model_files.output import write_model_directory
        from vocab.modes.swapping import confirm_swap, model_rows

        options, source = self.prepared.options, self.prepared.source
        multiple = options.pad_to_multiple_of
        swapped = self.named if options.mode == "swap" else None
        if swapped is not None and multiple is None:
            multiple = model_rows(swapped, self.plan.n_tgt)

        def confirm(written: Path, n_rows: int) -> None:
            if swapped is not None:
                trust = options.trust_remote_code
                equal = confirm_swap(written, swapped, n_rows=n_rows, trust_remote_code=trust)
                self.prepared.decisions.add("swapped", equal, "compared after writing")

        with self.prepared.progress.stage("write and verify the model"):
            return write_model_directory(
                source.path,
                folder,
                self.plan,
                source.tokenizer,
                self.tokenizer,
                head_plan=self.head_plan,
                provenance=provenance(self),
                card=model_card(self, name=Path(folder).name),
                overwrite=overwrite,
                dtype=None if options.dtype == "keep" else options.dtype,
                pad_to_multiple_of=multiple,
                rank=options.rank,
                keep_factorized=options.keep_factorized,
                probe_texts=self.prepared.materials.text[:8],
                device=self.prepared.device,
                trust_remote_code=options.trust_remote_code,
                confirm=confirm,
            )


def prepare(
    options: TransferOptions,
    *,
    source: Source | None = None,
    agree: Callable[[Selection], None] = within_limit,
    decisions: Decisions | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Resolve names, fetch and read the material and choose the method; nothing is trained or written.

    `agree` hears what would be used and fetched, and raises what ends it there.

    Raises
    ------
    ToolkitError
        For an unknown language or method, material that is missing or unusable, or a model that cannot be
        found; see the error's own message.
    """
    decisions = decisions or Decisions()
    progress = progress or Progress()
    method = None if options.method == "auto" else parse_expression(options.method)
    if options.mode == "trim":
        method = parse_expression("copy")
    head_method = None if options.head_method is None else parse_expression(options.head_method)
    src_lang = language(options.src_lang)
    tgt_lang = src_lang if options.mode == "swap" else language(options.tgt)
    if tgt_lang.note:
        decisions.add("language", f"{tgt_lang.name} ({tgt_lang.code})", tgt_lang.note, minor=tgt_lang.minor)
    _set_threads(options.threads)
    may_add = options.mode in ("replace", "extend") and source is None
    # before any server is asked for material: what is wrong with a model that is here is said at once
    with progress.stage("find the source model"):
        source = source or source_at_hand(options, decisions)
    selection = survey(options, src_lang, tgt_lang, may_add=may_add, progress=progress)
    if selection is not None:
        agree(selection)
    if source is None:
        with progress.stage("fetch the source model"):
            source = find_source(options, decisions)
    of_head = ["--head-method"] * (head_method is not None) + ["--head-norm"] * (options.head_norm != "none")
    if of_head and _has_no_head_of_its_own(source, options):
        head_method, options = None, replace(options, head_norm="none")
        why = "the model has no output head that is not tied to it"
        decisions.add("head", "like the input", f"{why}, so {' and '.join(of_head)} changed nothing")
    if options.rank is not None:
        from vocab.factorized.output import check_rank

        trust = options.trust_remote_code
        check_rank(source.path, options.rank, keep=options.keep_factorized, trust_remote_code=trust)
    with progress.stage("read the material"):
        materials = gather(
            options, src_lang, tgt_lang, selection=selection, decisions=decisions, progress=progress
        )
    given = _given(materials)
    if method is None:
        # vectors that were given say more than sentence pairs that were not
        is_bundled = any(file["kind"] == "bundled parallel" for file in materials.files)
        usable = given - {"parallel"} if is_bundled and "vectors" in given else given
        could_train = usable.isdisjoint({"parallel", "vectors"}) and _trainable("vectors", materials)
        if could_train and materials.lexicon is not None:
            with progress.stage("look for the lexicon's words in the text"):
                known = _has_entries_of_both(materials.lexicon, materials)
            if known:
                usable = {*usable, "vectors"}
            else:
                why = "no entry of the lexicon is frequent enough in text of both languages"
                decisions.add("vectors", "none", why)
        chosen, why = choose_method(usable)
        method = parse_expression(chosen)
        decisions.add("method", chosen, why)
    for wanted in (method, head_method):
        missing = [] if wanted is None else lacking(wanted, materials)
        if missing:
            raise UsageError(
                f"method {wanted} needs {' and '.join(CALLED[need] for need in missing)}",
                got=", ".join(CALLED[need] for need in sorted(given)) or "nothing of the kind",
                hint="; and ".join(HOW_TO_GIVE[need] for need in missing),
            )
    device = _device(options, decisions)
    return Prepared(
        options, source, src_lang, tgt_lang, materials, method, head_method, device, decisions, progress
    )


def _has_no_head_of_its_own(source: Source, options: TransferOptions) -> bool:
    from vocab.model_files.surgery import head_of

    return head_of(source.path, trust_remote_code=options.trust_remote_code) != "own"


HOW_TO_GIVE: Mapping[Need, str] = {
    "parallel": "pass --parallel FILE.src FILE.tgt, or --lexicon FILE",
    "vectors": "pass --src-vectors and --tgt-vectors, or --fetch vectors:cc, or text of both languages to "
    "train them on (--src-corpus, --corpus)",
    "lexicon": "pass --lexicon FILE with one source<TAB>target pair a line",
    "text": "pass --corpus FILE",
    "donor": "pass --donor MODEL, one that speaks the target tokenizer",
    "donor-src": "pass --donor-src MODEL, the one that the donor was made from",
}
CALLED: Mapping[Need, str] = {
    "parallel": "parallel text",
    "vectors": "word vectors",
    "lexicon": "a lexicon",
    "text": "text of the target language",
    "donor": "a donor model",
    "donor-src": "the donor's own source",
}


def _device(options: TransferOptions, decisions: Decisions) -> str:
    import torch

    has_gpu = torch.cuda.is_available()
    if options.device == "cuda" and not has_gpu:
        raise UnavailableError(
            "there is no GPU that torch can use", got="--device cuda", hint="drop the flag"
        )
    if options.device != "auto":
        return options.device
    found = "cuda" if has_gpu else "cpu"
    decisions.add("device", found, "a GPU was found" if has_gpu else "torch found no GPU")
    return found


def _given(materials: Materials) -> set[Need]:
    given: set[Need] = set()
    if materials.parallel is not None:
        given.add("parallel")
    if materials.src_vectors is not None:
        given.add("vectors")
    if materials.lexicon is not None:
        given.add("lexicon")
    if materials.text:
        given.add("text")
    if materials.donor is not None:
        given.add("donor")
    if materials.donor_src is not None:
        given.add("donor-src")
    return given


def lacking(expression: Expression, materials: Materials) -> list[Need]:
    """What methods need that is neither there nor can be made of what is there."""
    given = _given(materials)
    return [need for need in expression.needs if need not in given and not _trainable(need, materials)]


def _trainable(need: Need, materials: Materials) -> bool:
    if need == "parallel":  # a lexicon's entries are short sentence pairs
        return materials.lexicon is not None
    return need == "vectors" and bool(materials.src_text) and bool(materials.text)


def _has_entries_of_both(lexicon: Lexicon, materials: Materials) -> bool:
    """Whether vectors trained on the text would know an entry of the lexicon on both sides."""
    from align.fasttext_training import frequent_words
    from align.lexicon import case_forms

    forms = [(case_forms(word), case_forms(translation)) for word, translation in lexicon]
    src, tgt = (
        frequent_words(lines, {form for pair in forms for form in pair[side]})
        for side, lines in enumerate((materials.src_text, materials.text))
    )
    return any(not src.isdisjoint(word) and not tgt.isdisjoint(other) for word, other in forms)


def execute(prepared: Prepared) -> TransferResult:
    """Train the tokenizer, make the plan and measure; see :func:`transfer`."""
    options, progress, materials = prepared.options, prepared.progress, prepared.materials
    from vocab.tokenizer.report import report

    with progress.stage("train the tokenizer" if options.named_tokenizer is None else "load the tokenizer"):
        made = new_tokenizer(prepared)
    tokenizer, target = made.tokenizer, Vocabulary.of(made.tokenizer)
    before, after, counts = None, None, np.zeros(len(target), np.int64)
    if materials.text:
        with progress.stage("measure the tokenizers"):
            step = -(-len(materials.text) // _REPORT_LINES)
            sample = made.sample or materials.text[::step]
            before = report(prepared.source.tokenizer, sample, find_unreachable=False)
            after = made.report or report(tokenizer, sample)
            counts = np.bincount(
                np.fromiter((i for ids in target.encode(materials.text) for i in ids), dtype=np.int64),
                minlength=len(target),
            )
    kept = None if made.kept is None else kept_rows(prepared.source.vocabulary, target, made.kept)
    plan, head_plan = make_plans(prepared, target, kept)
    for flag, norm, used in (
        ("--norm", options.norm, plan),
        ("--head-norm", options.head_norm, head_plan or plan),
    ):
        if norm not in ("auto", "none") and not used.summed.any():
            prepared.decisions.add(flag, "changed nothing", "no row is a sum of several old rows")
    return TransferResult(
        plan=plan,
        head_plan=head_plan,
        tokenizer=tokenizer,
        origins=plan.summary(counts if materials.text else None),
        before=before,
        after=after,
        examples=_examples(plan, target, counts),
        prepared=prepared,
        named=made.path,
    )


def _examples(plan: TransferPlan, target: Vocabulary, counts: np.ndarray) -> list[RowExplanation]:
    """The most frequent whole words of four letters or more that the method itself made."""
    explained: list[RowExplanation] = []
    for i in np.argsort(-counts, kind="stable").tolist():
        text = target.surfaces[i].decode(errors="ignore")
        if len(explained) == _N_EXAMPLES or counts[i] == 0:
            break
        made = plan.origins[i] in (Origin.MIXED, Origin.MAPPED, Origin.COMPOSED)
        if made and text.startswith(" ") and text[1:].isalpha() and len(text) > 4:
            explained.append(plan.explain(i, top=3))
    return explained


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    import os

    import torch

    os.environ["RAYON_NUM_THREADS"] = str(threads)  # read by the tokenizers library at its first batch
    torch.set_num_threads(threads)
    set_threads(threads)
