"""What a finished model says of itself: transfer.json for machines, README.md for people."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import __version__
from vocab.modes.choosing import described

if TYPE_CHECKING:
    from vocab.pipeline import Prepared, TransferResult
    from vocab.plan import TransferPlan
    from vocab.plan.rows import OriginShare
    from vocab.tokenizer.report import TokenizerReport

SCHEMA = 1
_PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "numba", "fasttext-wheel")


def provenance(result: TransferResult) -> dict[str, Any]:
    """Contents of transfer.json; the same inputs and seed give the same, but for ``utc`` and ``seconds``."""
    prepared = result.prepared
    return {
        "schema": SCHEMA,
        "tool": {"name": "vocab-transfer", "version": __version__},
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {"name": prepared.source.name, "revision": prepared.source.revision},
        "languages": {"source": prepared.src_lang.code, "target": prepared.tgt_lang.code},
        "options": _options(prepared),
        "decisions": [
            {"what": decision.what, "value": decision.value, "why": decision.why}
            for decision in result.decisions
        ],
        "inputs": prepared.materials.files,
        "opus_auto": prepared.materials.choice,
        "method": result.plan.method,
        "method_options": dict(result.plan.options),
        "norm": result.plan.norm,
        "origins": _origins(result.origins),
        "head": _head(result.head_plan or result.plan, is_own=result.head_plan is not None),
        "tokenizer": {
            "size": len(result.tokenizer),
            "on_the_text": {label: _figures(report) for label, report in measured(result)},
        },
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
        "packages": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
    }


def _origins(shares: Sequence[OriginShare]) -> list[dict[str, Any]]:
    return [
        {
            "origin": share.origin,
            "rows": share.n_rows,
            "row_share": round(share.row_share, 6),
            "text_share": None if share.text_share is None else round(share.text_share, 6),
        }
        for share in shares
    ]


def _head(plan: TransferPlan, *, is_own: bool) -> dict[str, Any]:
    """The norm policy of an untied head, and its plan where that is another than the input's."""
    if not is_own:
        return {"norm": plan.head_norm}
    return {
        "norm": plan.head_norm,
        "method": plan.method,
        "method_options": dict(plan.options),
        "origins": _origins(plan.summary()),
    }


def _options(prepared: Prepared) -> dict[str, Any]:
    options = prepared.options.as_json() | {"src": prepared.source.name}
    for key in ("tokenizer", "donor", "donor_src"):
        if options[key] is not None and Path(options[key]).exists():
            options[key] = Path(options[key]).resolve().name
    return options


def _figures(report: TokenizerReport) -> dict[str, float]:
    return {
        "size": report.vocab_size,
        "tokens_per_word": round(report.tokens_per_word, 4),
        "continued_words": round(report.continued_words, 4),
        "bytes_per_token": round(report.bytes_per_token, 4),
        "unknown_rate": round(report.unknown_rate, 6),
        "unreachable_tokens": len(report.unreachable),
    }


def measured(result: TransferResult) -> list[tuple[str, TokenizerReport]]:
    """The two tokenizers' reports, ``before`` and ``after``; nothing where there was no text."""
    reports = (("before", result.before), ("after", result.after))
    return [(label, report) for label, report in reports if report is not None]


def model_card(result: TransferResult, *, name: str) -> str:
    """README.md of the model directory, with the front matter that the hub reads."""
    prepared = result.prepared
    language, method = prepared.tgt_lang, prepared.method
    is_hub_id = prepared.source.revision is not None
    front = [
        "---",
        # a model that was trimmed or swapped speaks the languages that it spoke
        *([f"language: {language.code}"] if prepared.options.mode in ("replace", "extend") else []),
        "library_name: transformers",
        *([f"base_model: {prepared.source.name}", "base_model_relation: finetune"] if is_hub_id else []),
        "tags:",
        "- vocabulary-transfer",
        "---",
    ]
    body = [
        f"# {name}",
        "",
        f"{described(result)} Its licence is that of the source model.",
        "",
        "## How the new rows were made",
        "",
        f"Method `{method}`: each new row is "
        + ", or ".join(part.summary for part in method.methods)
        + "."
        + "".join(f" After {part.paper}." for part in method.methods if part.paper)
        + f" What is left: {' then '.join(part.name for part in method.fallbacks) or 'nothing'}.",
        "",
        *markdown_table(
            ("origin", "rows", "share of rows", "share of the text's tokens"),
            [
                (
                    share.origin,
                    f"{share.n_rows:,}",
                    f"{share.row_share:.1%}",
                    "" if share.text_share is None else f"{share.text_share:.1%}",
                )
                for share in result.origins
            ],
        ),
        "",
        *(
            [f"The rows of the output head were made by `{prepared.head_method}` instead (`plan-head/`).", ""]
            if prepared.head_method is not None
            else []
        ),
        *_section(
            "The tokenizer on the target text",
            markdown_table(
                ("", "tokens per word", "bytes per token", "unknown"),
                [
                    (
                        label,
                        f"{report.tokens_per_word:.2f}",
                        f"{report.bytes_per_token:.2f}",
                        f"{report.unknown_rate:.2%}",
                    )
                    for label, report in measured(result)
                ],
            )
            if measured(result)
            else [],
        ),
        *_section(
            "Opening it",
            [
                f"The input embeddings are two factors of rank {prepared.options.rank}. "
                "`vocab.load_factorized(folder)` opens the model; `AutoModel` refuses it."
            ]
            if prepared.options.keep_factorized
            else [],
        ),
        *_section("What was fetched", _fetched(prepared.materials.files)),
        *_section("Some new rows", [f"- {example}" for example in result.examples]),
        "Details are in `transfer.json`; the weights of every row in `plan/` "
        f"(`vocab-transfer explain {name} TOKEN`).",
        "",
    ]
    return "\n".join([*front, "", *body])


def _fetched(files: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for file in files:
        if "sha256" not in file or "licence" not in file:  # given, not fetched
            continue
        pairs = file.get("pairs")
        kept = "" if pairs is None else f"{pairs['kept']:,} of {pairs['read']:,}"
        name = f"{file['name']} {file.get('version', '')}".strip()
        name = f"[{name}]({file['url']})" if "url" in file else name
        licence = str(file["licence"]).replace("|", "/").replace("<", "&lt;")
        rows.append((name, licence, kept, f"`{file['sha256'][:16]}`"))
    header = ("", "licence, as far as stated", "sentence pairs kept", "SHA-256 begins with")
    return markdown_table(header, rows) if rows else []


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [
        f"| {' | '.join(header)} |",
        f"| {' | '.join('---' for _ in header)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
