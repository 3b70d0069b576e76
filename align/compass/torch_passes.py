"""The passes of :mod:`align.compass.passes` on a torch device: many predictions at a time.

Predictions, draws and gradients are those of the compiled kernels; but the words of a batch are predicted
from matrices as they were before it, and what several add to one row is added up, as if there were
``MOST_ADDED`` of them where there are more: without this, steps that one after another would have become
smaller run away. The order of additions on a GPU is not fixed, so that bytes differ from run to run there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.compass.kernels import MAX_LOGIT, MAX_STEP, SENTENCE_END
from align.compass.options import Word2VecOptions
from align.compass.passes import Job, Tables, plan_jobs
from align.errors import UnavailableError, UsageError

# predictions at a time, at least and at most: one for 16 words of the vocabulary
BATCH = (32, 4096)
MOST_ADDED = 8.0


def run_torch_passes(
    streams: Sequence[NDArray[np.int32]],
    inputs: NDArray[np.float32],
    output: NDArray[np.float32],
    tables: Tables,
    *,
    n_epochs: int,
    options: Word2VecOptions,
    learn_output: bool,
) -> tuple[float, ...]:
    """Train matrices in place; the mean loss of every pass. See :func:`align.compass.passes.run_passes`.

    Raises
    ------
    UsageError
        For a device that torch does not know.
    UnavailableError
        For one that is not there.
    """
    device = _device(options.device or "cpu")
    trainer = _Trainer(inputs, output, tables, options, learn_output, device)
    losses = torch.zeros(n_epochs, dtype=torch.float64, device=device)
    n_seen = torch.zeros(n_epochs, dtype=torch.float64, device=device)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)  # small steps: more threads than asked for wait for each other
    try:
        for job in plan_jobs(streams, n_epochs=n_epochs, options=options):
            for loss, n in trainer.train(np.array(streams[job.stream][job.start : job.stop]), job):
                losses[job.epoch] += loss
                n_seen[job.epoch] += n
    finally:
        torch.set_num_threads(n_threads)
    inputs[:] = trainer.inputs.cpu().numpy()
    if learn_output:
        output[:] = trainer.output.cpu().numpy()
    return tuple((losses / n_seen.clamp(min=1)).tolist())


class _Trainer:
    """Matrices and tables on the device."""

    def __init__(
        self,
        inputs: NDArray[np.float32],
        output: NDArray[np.float32],
        tables: Tables,
        options: Word2VecOptions,
        learn_output: bool,
        device: torch.device,
    ) -> None:
        self.inputs = torch.tensor(inputs, device=device)
        self.output = torch.tensor(output, device=device)
        self.keep = torch.tensor(tables.keep / 2.0**32, device=device)
        self.share = torch.tensor(tables.alias[:, 0] / 2.0**32, device=device)
        self.other = torch.tensor(tables.alias[:, 1].astype(np.int64), device=device)
        self.starts = torch.tensor(tables.starts, device=device)
        self.rows = torch.tensor(tables.rows.astype(np.int64), device=device)
        self.options, self.learn_output, self.device = options, learn_output, device
        self.draws = torch.Generator(device)
        self.batch = min(max(len(output) // 16, BATCH[0]), BATCH[1])

    def train(self, tokens: NDArray[np.int32], job: Job) -> list[tuple[Tensor, int]]:
        """Train on the sentences of one job; loss and predictions of each batch."""
        self.draws.manual_seed(job.seed)
        window = self.options.window
        words = torch.tensor(tokens, device=self.device).long()
        inside = words != SENTENCE_END
        sentence = torch.cumsum(~inside, 0)
        kept = inside & (self._uniform(len(words)) < self.keep[words.clamp(min=0)])
        place, sentence, words = torch.nonzero(kept)[:, 0], sentence[kept], words[kept]
        n = len(words)
        if n == 0:
            return []
        reach = window - torch.floor(self._uniform(n) * window).long()
        offset = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)]).to(self.device)
        at = torch.arange(n, device=self.device)[:, None] + offset
        seen = (at >= 0) & (at < n) & (offset.abs() <= reach[:, None])
        at = at.clamp(0, n - 1)
        seen &= sentence[at] == sentence[:, None]
        rates = (job.first_rate + (job.last_rate - job.first_rate) * place / len(tokens)).float()
        centre, column = torch.nonzero(seen, as_tuple=True)
        context = words[at[centre, column]]
        if self.options.architecture == "skipgram":
            example = torch.arange(len(centre), device=self.device)
        else:
            predicted = seen.any(1)
            example = (torch.cumsum(predicted, 0) - 1)[centre]
            centre = torch.nonzero(predicted)[:, 0]
        batch = self.batch
        firsts = torch.arange(0, len(centre) + batch, batch, device=self.device)
        bounds = torch.searchsorted(example, firsts).tolist()
        out = []
        for start, first, stop in zip(range(0, len(centre), batch), bounds, bounds[1:], strict=False):
            part = centre[start : start + batch]
            loss = self._learn(context[first:stop], example[first:stop] - start, words[part], rates[part])
            out.append((loss, len(part)))
        return out

    def _learn(self, context: Tensor, example: Tensor, words: Tensor, rate: Tensor) -> Tensor:
        rows = context
        if len(self.starts):
            first, n_rows = self.starts[context], self.starts[context + 1] - self.starts[context]
            example = torch.repeat_interleave(example, n_rows)
            shift = torch.arange(len(example), device=self.device) - torch.repeat_interleave(
                torch.cumsum(n_rows, 0) - n_rows, n_rows
            )
            rows = self.rows[torch.repeat_interleave(first, n_rows) + shift]
        n, dim = len(words), self.inputs.shape[1]
        hidden = self.inputs.new_zeros(n, dim).index_add_(0, example, self.inputs[rows])
        hidden /= torch.bincount(example, minlength=n)[:, None]
        targets = torch.cat([words[:, None], self._negatives(words)], 1)
        vectors = self.output[targets]
        logits = torch.einsum("nd,nkd->nk", hidden, vectors)
        label = torch.zeros_like(logits)
        label[:, 0] = 1
        counted = targets != words[:, None]
        counted[:, 0] = True
        chance = torch.sigmoid(logits)
        chance = torch.where(logits >= MAX_LOGIT, 1.0, torch.where(logits <= -MAX_LOGIT, 0.0, chance))
        square = (vectors**2).sum(2)
        if self.learn_output:
            square = square + (hidden**2).sum(1)[:, None]
        rates = torch.minimum(rate[:, None], MAX_STEP / square.clamp(min=1e-30))
        factor = (label - chance) * rates * counted
        step = torch.einsum("nk,nkd->nd", factor, vectors)
        if self.learn_output:
            change = (factor[:, :, None] * hidden[:, None, :]).reshape(-1, dim)
            _add(self.output, targets.reshape(-1), change)
        _add(self.inputs, rows, step[example])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
        return (loss * counted).sum().double()

    def _negatives(self, words: Tensor) -> Tensor:
        shape = (len(words), self.options.n_negatives)
        cell = torch.randint(len(self.share), shape, generator=self.draws, device=self.device)
        return torch.where(self._uniform(shape) < self.share[cell], cell, self.other[cell])

    def _uniform(self, shape: int | tuple[int, int]) -> Tensor:
        return torch.rand(shape, generator=self.draws, device=self.device, dtype=torch.float64)


def _add(matrix: Tensor, rows: Tensor, change: Tensor) -> None:
    n_added = matrix.new_zeros(len(matrix)).index_add_(0, rows, matrix.new_ones(len(rows)))
    matrix.index_add_(0, rows, change * (MOST_ADDED / n_added[rows]).clamp(max=1)[:, None])


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("unknown torch device", got=name, wanted="cuda, cuda:0, cpu") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UnavailableError(
            "the torch device is not there", got=name, hint="leave out the device: compiled kernels"
        ) from error
    return device
