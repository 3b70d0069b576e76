"""The material of a transfer: sentence pairs, text, lexicon, word vectors; given, bundled or fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UnavailableError
from align.short_repr import short_repr
from vocab.languages import Language
from vocab.materials.text import ParallelText, parallel_lines, read_lines, read_parallel, read_parallel_tsv
from vocab.options import Lines, TransferOptions
from vocab.progress import Decisions, Progress

if TYPE_CHECKING:
    from align.lexicon import Lexicon
    from align.vectors import Vectors
    from align.wordalign import Links
    from vocab.materials.fetched import Fetched
    from vocab.resources.selection import Selection

_HASH_LIMIT = 1 << 30  # bytes; hashing a 7 GB vector file would take longer than the transfer


@dataclass(frozen=True, eq=False)
class Materials:
    """What a transfer works with.

    Parameters
    ----------
    parallel : ParallelText or None
        Sentence pairs, source language first.
    text, src_text : sequence of str
        Lines of the target and of the source language, the sides of `parallel` included.
    lexicon : Lexicon or None
    src_vectors, tgt_vectors : Vectors or None
    donor : ndarray or None, shape (rows, dim)
        Input embeddings of the donor model.
    donor_src : ndarray or None, shape (rows, dim)
        Those of the model that the donor was made from.
    links : Links or None
        Between the words of `parallel`, from a file.
    link_words : {"whitespace", "words"}
        What a word is in these.
    files : list of dict
        Kind, name, size and SHA-256 of every file that was read, for the provenance.
    choice : dict or None
        What `opus:auto` chose, and by which rule.
    """

    parallel: ParallelText | None
    text: Sequence[str]
    src_text: Sequence[str]
    lexicon: Lexicon | None
    src_vectors: Vectors | None
    tgt_vectors: Vectors | None
    donor: NDArray[np.float32] | None = None
    donor_src: NDArray[np.float32] | None = None
    links: Links | None = None
    link_words: str = "words"
    files: list[dict[str, Any]] = field(default_factory=list)
    choice: dict[str, Any] | None = None

    __repr__ = short_repr


def gather(
    options: TransferOptions,
    src_lang: Language,
    tgt_lang: Language,
    *,
    selection: Selection | None = None,
    decisions: Decisions,
    progress: Progress,
) -> Materials:
    """Read what the options name and what was selected to be fetched.

    Without any text, take what is bundled for the two languages.

    Raises
    ------
    InputError
        For files that cannot be used.
    UnavailableError
        When nothing was given and nothing is bundled, or a fetch fails.
    """
    files: list[dict[str, Any]] = []
    if options.mode == "trim":  # its rows are copies: text says which, and nothing else is of use
        text = [line for source in options.corpus for line in _read_text(source, "corpus", files)]
        return Materials(None, text, [], None, None, None, files=files)
    pairs = _read_pairs(options, files)
    text, src_text = (
        [line for source in sources for line in _read_text(source, kind, files) if line.strip()]
        for kind, sources in (("corpus", options.corpus), ("src-corpus", options.src_corpus))
    )
    fetched = None
    if selection is not None:
        from vocab.materials.fetched import fetch_selected

        fetched = fetch_selected(
            selection, options, src_lang, tgt_lang, decisions=decisions, progress=progress
        )
        pairs += fetched.pairs
        text += fetched.text
        src_text += fetched.src_text
        files += fetched.files
    if not pairs and not text:
        bundled = _bundled_pairs(src_lang, tgt_lang, files)
        if bundled is None and options.named_tokenizer is None:
            raise UnavailableError(
                f"no text in {tgt_lang.name} was given and none is bundled",
                hint=f"pass --parallel train.{src_lang.code} train.{tgt_lang.code}, --corpus text.txt, or "
                "--fetch opus:auto",
            )
        if bundled is not None:
            pairs.append(bundled)
            decisions.add("material", f"{len(bundled):,} bundled sentence pairs", "no text was given")
    parallel = None
    if pairs:
        parallel = ParallelText(
            [line for pair in pairs for line in pair.src],
            [line for pair in pairs for line in pair.tgt],
            sum(pair.n_dropped for pair in pairs),
            _numbers(pairs),
        )
        text = [*parallel.tgt, *text]
        src_text = [*parallel.src, *src_text]
    lexicon = _read_lexicon(options, src_lang, tgt_lang, decisions, files, fetched)
    src_vectors, tgt_vectors = _read_vectors(options, files, fetched)
    donor, donor_src = (
        None if name is None else _read_donor(name, kind, options, files)
        for kind, name in (("donor", options.donor), ("donor source", options.donor_src))
    )
    choice = None
    if selection is not None and selection.choice is not None:
        choice = selection.choice.as_json()
    links, link_words = None, "words"
    if options.alignment is not None and parallel is not None:
        links, link_words = _read_links(options.alignment, parallel, decisions, files)
    return Materials(
        parallel,
        text,
        src_text,
        lexicon,
        src_vectors,
        tgt_vectors,
        donor,
        donor_src,
        links,
        link_words,
        files,
        choice,
    )


def _read_pairs(options: TransferOptions, files: list[dict[str, Any]]) -> list[ParallelText]:
    pairs = []
    if options.parallel is not None:
        src, tgt = options.parallel
        if isinstance(src, str | Path) and isinstance(tgt, str | Path):
            pairs.append(read_parallel(src, tgt))
            files += [describe_file("parallel", src), describe_file("parallel", tgt)]
        else:
            src_lines, tgt_lines = _read_text(src, "parallel", files), _read_text(tgt, "parallel", files)
            if len(src_lines) != len(tgt_lines):
                raise InputError(
                    "parallel text of unequal length", got=f"{len(src_lines)} and {len(tgt_lines)} sentences"
                )
            pairs.append(parallel_lines(src_lines, tgt_lines, where="parallel"))
    for path in options.parallel_tsv:
        pairs.append(read_parallel_tsv(path))
        files.append(describe_file("parallel", path))
    return pairs


def _numbers(pairs: list[ParallelText]) -> list[int]:
    """Numbers of the kept pairs among those of all files."""
    numbers: list[int] = []
    n_read = 0
    for pair in pairs:
        numbers += [n_read + n for n in pair.numbers]
        n_read += len(pair) + pair.n_dropped
    return numbers


def _read_links(
    path: Path, parallel: ParallelText, decisions: Decisions, files: list[dict[str, Any]]
) -> tuple[Links, str]:
    from align.wordalign.links import read_links
    from vocab.tokens.links import divided_like

    links = read_links(path)
    files.append(describe_file("alignment", path))
    n_read = len(parallel) + parallel.n_dropped
    if links.n_pairs != n_read:
        raise InputError("links of another text", got=f"{links.n_pairs} lines", wanted=n_read, where=path)
    links = links.rows(np.array(parallel.numbers))
    if not len(links.weights):
        raise InputError(
            "no link in any line",
            got=f"{links.n_pairs} sentence pairs without one",
            wanted="i-j i-j ..., one line a pair",
            where=path,
            hint="run the aligner again, or leave --alignment out: the pairs are aligned then",
        )
    words = divided_like(links, parallel.src, parallel.tgt, where=path)
    decisions.add("words of the links", words, "all links fit it")
    return links, words


def _read_text(source: Lines, kind: str, files: list[dict[str, Any]]) -> list[str]:
    if isinstance(source, str | Path):
        lines = read_lines(source)
        files.append(describe_file(kind, source))
        return lines
    return list(source)


def _bundled_pairs(
    src_lang: Language, tgt_lang: Language, files: list[dict[str, Any]]
) -> ParallelText | None:
    from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons

    path = lexicons.sentences_path(src_lang.code, tgt_lang.code)
    if path is None:
        return None
    files.append(describe_file("bundled parallel", path))
    return read_parallel_tsv(path)


def _read_lexicon(
    options: TransferOptions,
    src_lang: Language,
    tgt_lang: Language,
    decisions: Decisions,
    files: list[dict[str, Any]],
    fetched: Fetched | None,
) -> Lexicon | None:
    from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
    from align.lexicon import bundled_lexicon, read_lexicon

    if options.lexicon is not None:
        given = read_lexicon(options.lexicon)
        files.append(describe_file("lexicon", options.lexicon))
        return given
    if fetched is not None and fetched.lexicon is not None:
        return read_lexicon(fetched.lexicon)
    try:
        lexicon = bundled_lexicon(src_lang.code, tgt_lang.code)
    except UnavailableError:
        return None
    path = lexicons.path(src_lang.code, tgt_lang.code) or lexicons.path(tgt_lang.code, src_lang.code)
    if path is not None:
        files.append(describe_file("bundled lexicon", path))
    decisions.add("lexicon", f"bundled {src_lang.code}-{tgt_lang.code}, {len(lexicon):,} entries")
    return lexicon


def _read_vectors(
    options: TransferOptions, files: list[dict[str, Any]], fetched: Fetched | None
) -> tuple[Vectors | None, Vectors | None]:
    from align.vectors import read_vectors

    if options.src_vectors is not None and options.tgt_vectors is not None:
        files += [describe_file("vectors", path) for path in (options.src_vectors, options.tgt_vectors)]
        return read_vectors(options.src_vectors), read_vectors(options.tgt_vectors)
    if fetched is None or fetched.src_vectors is None or fetched.tgt_vectors is None:
        return None, None
    return read_vectors(fetched.src_vectors), read_vectors(fetched.tgt_vectors)


def _read_donor(
    model: str, kind: str, options: TransferOptions, files: list[dict[str, Any]]
) -> NDArray[np.float32]:
    """Input embeddings of a donor model, read without loading the model."""
    from vocab.hub import resolve_model

    found = resolve_model(model, cache_dir=options.cache_dir, offline=options.offline or None)
    matrix = input_matrix(found.path, kind)
    name = found.path.resolve().name if found.is_local else found.name
    files.append({"kind": kind, "name": name, "revision": found.revision_sha})
    return matrix


def input_matrix(path: Path, kind: str = "source") -> NDArray[np.float32]:
    """Input embeddings of a model directory, read without loading the model.

    Raises
    ------
    InputError
        If the model has none.
    """
    from vocab.model_files.checkpoint import open_checkpoint
    from vocab.model_files.layout import find_vocabulary, match_checkpoint, model_class, read_config

    config = read_config(path)
    checkpoint = open_checkpoint(path)
    tensors = match_checkpoint(find_vocabulary(model_class(config, path), config), checkpoint)
    names = [name for name, tensor in tensors.items() if tensor.role == "input"]
    if not names:
        raise InputError(f"the {kind} model has no input embeddings", where=path)
    return checkpoint.read(names[0]).float().numpy()


def describe_file(kind: str, path: str | Path) -> dict[str, Any]:
    """Kind, name, size and (up to 1 GiB) SHA-256 of a file; no folder names, which are the user's own."""
    from vocab.fetching.cache import sha256_of

    path = Path(path)
    size = path.stat().st_size
    entry: dict[str, Any] = {"kind": kind, "name": path.name, "bytes": size}
    if size <= _HASH_LIMIT:
        entry["sha256"] = sha256_of(path)
    return entry
