"""Options of the ``compass`` commands: the one place of their flags and help texts. Nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from align.errors import UsageError
from align.options import Tokenize, option

Method = Literal["cade", "procrustes", "procrustes-centred", "histwords", "histwords-centred", "incremental"]
Measure = Literal["cosine", "lncs2", "moving-lncs2", "overlap"]
Control = Literal["residual", "rank", "none"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How text becomes words."""

    tokenize: Tokenize = option(
        "words",
        "Words: runs of letters and digits, without punctuation; or what white space divides.",
        group="Text",
    )
    keep_case: bool = option(False, "Do not lower-case.", group="Text")
    min_count: int = option(5, "Words of fewer occurrences in all slices are left out.", group="Text")
    max_words: int | None = option(None, "Keep the most frequent words only.", group="Text")


@dataclass(frozen=True, kw_only=True)
class SliceOptions(ReadOptions):
    """Which text is which slice."""

    slices: tuple[Path, ...] = option(
        (), "Text files, one a slice; or one .tsv, slice<TAB>text (all also .gz, .zst).", group="Text"
    )
    names: tuple[str, ...] = option((), "Names of the slices; by default the files'.", group="Text")
    bin: int | None = option(
        None, "The .tsv gives years: this many make a slice, named by its first.", group="Text"
    )


@dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """How word vectors are trained; defaults as in align.compass.CompassOptions."""

    architecture: Literal["cbow", "skipgram"] = option(
        "cbow", "What predicts a word: the mean of its window, or each word of it.", group="Training"
    )
    dim: int = option(100, "Width of the vectors.", group="Training")
    window: int = option(5, "Words looked at on either side.", group="Training")
    n_negatives: int = option(10, "False answers drawn for each prediction.", group="Training")
    epochs: int | None = option(
        None, "Passes over the text; by default what --updates comes to, 5 to 200.", group="Training"
    )
    updates: int = option(20_000_000, "Words shown in all.", group="Training")
    slice_epochs: int | None = option(
        None, "Passes over each slice; by default as many as over all of them.", group="Training"
    )
    learning_rate: float | None = option(
        None, "At the first word; 0.1 for cbow, 0.025 for skipgram.", group="Training"
    )
    slice_learning_rate: float | None = option(None, "The same for slices.", group="Training")
    subsample: float = option(
        1e-3, "Words of more than this share of the text are thinned out; 0: none.", group="Training"
    )
    init: Literal["hidden", "both", "copy"] = option(
        "hidden",
        "Where a slice's vectors begin: anew, at the compass's for its words, or for all words.",
        group="Training",
    )
    slice_min_count: int = option(
        1, "Words of fewer occurrences in a slice are none of its words.", group="Training"
    )
    min_n: int = option(0, "Shortest character n-gram that adds to a word; 0: none.", group="Training")
    max_n: int = option(0, "Longest.", group="Training")
    seed: int = option(0, "Seed of everything that is drawn.", group="Training")
    threads: int = option(
        1, "Threads; one gives the same bytes every time, several do not.", group="Training"
    )
    device: str | None = option(None, "Train in batches on this device of torch.", group="Training")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(VectorOptions, SliceOptions):
    """What decides a compass."""

    method: Method = option(
        "cade",
        "A compass held fixed; slices trained apart and rotated onto the largest, or onto the one before "
        "(-centred: without their mean); each going on from the one before.",
        group="Method",
    )
    lexicon: Path | None = option(
        None,
        "Slices in two languages: source<TAB>target; the compass reads their text with words exchanged.",
        group="Method",
    )
    switch_rate: float = option(0.5, "Share of translatable words that are exchanged.", group="Method")

    def __post_init__(self) -> None:
        if self.lexicon is not None and self.method != "cade":
            raise UsageError("--lexicon", got=f"--method {self.method}", wanted="--method cade")
        if not 0 < self.switch_rate <= 1:
            raise UsageError("--switch-rate", got=self.switch_rate, wanted="above 0, 1 at most")


@dataclass(frozen=True, kw_only=True)
class ShiftOptions(SliceOptions):
    """What decides which words moved."""

    top: int = option(30, "Words shown.", group="Measure")
    measure: Measure = option(
        "cosine",
        "Between a word's two vectors, between its similarities to its neighbours, the mean of both, or "
        "neighbours in common.",
        group="Measure",
    )
    neighbors: int | None = option(
        None, "Neighbours of those measures; by default 25, for overlap 1,000.", group="Measure"
    )
    min_occurrences: int = option(20, "Occurrences a word needs in both slices.", group="Measure")
    control: Control = option(
        "residual",
        "Order: by what word frequencies do not explain, by rank among words as frequent, or as it is.",
        group="Measure",
    )
    permutations: int = option(
        0,
        "Test each change against so many trainings with the slices shuffled; needs --slices.",
        group="Test",
    )
    bootstrap: int = option(
        0, "90 % intervals from so many trainings on slices drawn again; needs --slices.", group="Test"
    )
    seed: int = option(0, "Seed of what is drawn for these.", group="Test")

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("min_occurrences", 1), ("permutations", 0), ("bootstrap", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"--{name.replace('_', '-')}", got=getattr(self, name), wanted=f"{least} or more"
                )
        if (self.permutations or self.bootstrap) and not self.slices:
            raise UsageError(
                "--permutations and --bootstrap train the slices again",
                wanted="--slices, the text that the compass was trained on",
            )
        if self.slices and not (self.permutations or self.bootstrap):
            raise UsageError(
                "--slices is for --permutations and --bootstrap", hint="drop it or give one of them"
            )


@dataclass(frozen=True, kw_only=True)
class IdentityOptions(VectorOptions, ReadOptions):
    """What decides an identity test."""

    first: int = option(500, "Also count the most frequent words alone.", group="Test")

    def __post_init__(self) -> None:
        if self.first < 1:
            raise UsageError("--first", got=self.first, wanted="1 or more")
