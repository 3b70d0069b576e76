"""From a method's name to its plan: which material each function is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from numpy.typing import NDArray

from align.errors import UsageError
from align.vectors import Vectors
from vocab import methods
from vocab.materials.gathering import Materials
from vocab.methods.call import Call
from vocab.plan import TransferPlan
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary
from vocab.tokens.links import token_counts

# The last resort's noise, in standard deviations: rows must not start identical, and drawing them with the
# full spread measured worse than the plain mean at every horizon.
FALLBACK_NOISE = 0.1

Options = Mapping[str, Any]

_STAGES = {
    "trans-tokenization": "align the parallel text",
    "wechsel": "align the word vectors and mix",
    "ofa": "align the word vectors and mix",
    "ramen": "align the word vectors and mix",
    "ramen-parallel": "align the parallel text",
}


@dataclass(frozen=True, eq=False)
class Kitchen:
    """What the recipes of one run share."""

    source: Vocabulary
    target: Vocabulary
    materials: Materials
    seed: int
    decisions: Decisions
    progress: Progress
    read_src_matrix: Callable[[], NDArray[Any]] | None = None

    def plan(self, call: Call, *, is_fallback: bool = False) -> TransferPlan:
        """The plan of one method, timed as a stage of its own."""
        name = call.method.name
        with self.progress.stage(_STAGES.get(name, name)):
            if name == "mean" and is_fallback:
                return methods.mean(self.source, self.target, noise=FALLBACK_NOISE, seed=self.seed)
            plan = _RECIPES[name](self, call.keywords())
        if not call.options:
            return plan
        # under its full name: one expression may have the same method with other options
        return replace(plan, method=str(call), options={str(call): plan.options.get(plan.method, {})})

    @cached_property
    def vectors(self) -> tuple[Vectors, Vectors]:
        """Word vectors of both languages: as given, or trained on the text."""
        materials = self.materials
        if materials.src_vectors is not None and materials.tgt_vectors is not None:
            return materials.src_vectors, materials.tgt_vectors
        tgt_vectors = self.tgt_vectors
        from align.fasttext_training import train_fasttext

        with self.progress.stage("train word vectors"):
            return train_fasttext(materials.src_text), tgt_vectors

    @cached_property
    def tgt_vectors(self) -> Vectors:
        """Word vectors of the target language alone."""
        if self.materials.tgt_vectors is not None:
            return self.materials.tgt_vectors
        from align.fasttext_training import train_fasttext

        self.decisions.add("vectors", "fastText trained on the given text", "none were given")
        with self.progress.stage("train word vectors"):
            return train_fasttext(self.materials.text)

    @cached_property
    def donor(self) -> NDArray[Any]:
        """Embeddings of the model that speaks the target tokenizer already."""
        if self.materials.donor is None:
            raise UsageError("no donor model was given", wanted="--donor MODEL")
        if len(self.materials.donor) < len(self.target):
            raise UsageError(
                "the donor model does not speak the target tokenizer",
                got=f"{len(self.materials.donor)} embedding rows",
                wanted=f"{len(self.target)} or more",
                hint="give --tokenizer the donor's tokenizer",
            )
        return self.materials.donor

    @cached_property
    def src_matrix(self) -> NDArray[Any]:
        """Input embeddings of the source model, for the methods whose weights depend on them."""
        if self.read_src_matrix is None:
            raise UsageError("the source model's embeddings were not given")
        return self.read_src_matrix()

    @property
    def donor_src(self) -> NDArray[Any]:
        """Embeddings of the model that the donor was made from."""
        if self.materials.donor_src is None:
            raise UsageError("the donor's own source was not given", wanted="--donor-src MODEL")
        return self.materials.donor_src


def _trans_tokenization(kitchen: Kitchen, options: Options) -> TransferPlan:
    """Count given links; or align the pairs, and the lexicon's entries with them where these are more.

    Entries of one word skew the aligner's jumps and NULL: with 1,718 pairs and 6,268 entries they gained 3
    to 5 points of retrieval, with 30,782 pairs they lost 2.
    """
    return _from_links(kitchen, partial(methods.trans_tokenization, **options))


def _from_links(kitchen: Kitchen, method: Callable[..., TransferPlan]) -> TransferPlan:
    materials, lexicon = kitchen.materials, kitchen.materials.lexicon
    src, tgt = ([], []) if materials.parallel is None else (materials.parallel.src, materials.parallel.tgt)
    if materials.links is not None:
        counts = token_counts(
            materials.links, src, tgt, kitchen.source, kitchen.target, tokenize=materials.link_words
        )
        return method(kitchen.source, kitchen.target, counts=counts)
    if not src and lexicon is None:
        raise UsageError("there is neither parallel text nor a lexicon")
    if lexicon is not None and len(lexicon) > len(src):
        if src:
            beside, why = f" with {len(src):,} sentence pairs", "so few pairs gain by it"
        else:
            beside, why = "", "there is no parallel text"
        kitchen.decisions.add("aligned", f"{len(lexicon):,} lexicon entries{beside}", why)
        # byte-level tokenizers know a word by the space before it, others put a mark there themselves
        src_space, tgt_space = (
            " " if side.kind == "byte-level" else "" for side in (kitchen.source, kitchen.target)
        )
        src = [*src, *(src_space + entry[0] for entry in lexicon)]
        tgt = [*tgt, *(tgt_space + entry[1] for entry in lexicon)]
    return method(kitchen.source, kitchen.target, parallel=(src, tgt))


def _by_vectors(method: Callable[..., TransferPlan], kitchen: Kitchen, options: Options) -> TransferPlan:
    src_vectors, tgt_vectors = kitchen.vectors
    return method(
        kitchen.source,
        kitchen.target,
        src_vectors=src_vectors,
        tgt_vectors=tgt_vectors,
        lexicon=kitchen.materials.lexicon,
        **options,
    )


def _focus(kitchen: Kitchen, options: Options) -> TransferPlan:
    """By vectors of tokens that are trained on the text, or in word mode by vectors of words."""
    if options.get("mode") == "word":
        return methods.focus(kitchen.source, kitchen.target, vectors=kitchen.tgt_vectors, **options)
    return methods.focus(kitchen.source, kitchen.target, texts=kitchen.materials.text, **options)


# What stands in brackets behind the method's name goes to its function as it is.
_RECIPES: Mapping[str, Callable[[Kitchen, Options], TransferPlan]] = {
    "trans-tokenization": _trans_tokenization,
    "wechsel": lambda kitchen, options: _by_vectors(
        methods.wechsel, kitchen, {"seed": kitchen.seed, **options}
    ),
    "ofa": lambda kitchen, options: _by_vectors(methods.ofa, kitchen, options),
    "ramen": lambda kitchen, options: _by_vectors(methods.ramen, kitchen, options),
    "ramen-parallel": lambda kitchen, options: _from_links(
        kitchen, partial(methods.ramen_parallel, **options)
    ),
    "focus": _focus,
    "corpus-align": lambda kitchen, options: methods.corpus_align(
        kitchen.source, kitchen.target, texts=kitchen.materials.text, **options
    ),
    "tokalign": lambda kitchen, options: methods.tokalign(
        kitchen.source, kitchen.target, texts=kitchen.materials.text, seed=kitchen.seed, **options
    ),
    "cw2v": lambda kitchen, options: methods.cw2v(
        kitchen.source,
        kitchen.target,
        src_matrix=kitchen.src_matrix,
        texts=kitchen.materials.text,
        seed=kitchen.seed,
        **options,
    ),
    "clp": lambda kitchen, options: methods.clp(
        kitchen.source, kitchen.target, helper_matrix=kitchen.donor, **options
    ),
    "clp-plus": lambda kitchen, options: methods.clp(
        kitchen.source, kitchen.target, helper_matrix=kitchen.donor, plus=True, **options
    ),
    "omp": lambda kitchen, options: methods.omp(
        kitchen.source, kitchen.target, donor_matrix=kitchen.donor, **options
    ),
    "common-interpolation": lambda kitchen, options: methods.common_interpolation(
        kitchen.source, kitchen.target, donor_matrix=kitchen.donor, **options
    ),
    "recycle": lambda kitchen, options: methods.recycle(
        kitchen.source,
        kitchen.target,
        donor_matrix=kitchen.donor,
        donor_src_matrix=kitchen.donor_src,
        **options,
    ),
    "constituents": lambda kitchen, options: methods.constituents(kitchen.source, kitchen.target, **options),
    "vipi": lambda kitchen, options: methods.vipi(kitchen.source, kitchen.target, **options),
    "zip-tie": lambda kitchen, options: methods.zip_tie(kitchen.source, kitchen.target, **options),
    "overlap-factorized": lambda kitchen, options: methods.overlap_factorized(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
    "copy": lambda kitchen, options: methods.copy(kitchen.source, kitchen.target, **options),
    "script": lambda kitchen, options: methods.script(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
    "mean": lambda kitchen, options: methods.mean(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
    "normal": lambda kitchen, options: methods.normal(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
    "multivariate": lambda kitchen, options: methods.multivariate(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
    "hf": lambda kitchen, options: methods.hf(kitchen.source, kitchen.target, seed=kitchen.seed, **options),
    "random": lambda kitchen, options: methods.random(
        kitchen.source, kitchen.target, seed=kitchen.seed, **options
    ),
}
