"""Adversarial alignment without a dictionary: a discriminator cannot tell mapped rows from target rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UnavailableError, UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.criterion import refine_and_judge, translation_cosine

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class _Settings:
    batch_size: int
    most_frequent: int
    hidden_dim: int
    discriminator_steps: int
    smoothing: float
    input_dropout: float
    beta: float


def adversarial(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    n_epochs: int = 5,
    epoch_size: int = 1_000_000,
    batch_size: int = 32,
    most_frequent: int = 75_000,
    hidden_dim: int = 2048,
    discriminator_steps: int = 5,
    lr: float = 0.1,
    lr_decay: float = 0.98,
    lr_shrink: float = 0.5,
    smoothing: float = 0.1,
    input_dropout: float = 0.1,
    beta: float = 0.001,
    n_refinement: int = 5,
    max_rank: int = 10_000,
    k: int = 10,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> BilingualMap:
    """Map two spaces without a dictionary by adversarial training, then refine.

    Conneau, Lample, Ranzato, Denoyer and Jégou (2018), "Word translation without parallel data", ICLR,
    sections 2.1 to 2.3. A discriminator with two hidden layers learns to tell mapped source rows from target
    rows, and the map, kept nearly orthogonal by ``W <- (1 + beta) W - beta W W^T W``, to deceive it. After
    every epoch the criterion is computed, the mean cosine of frequent words and their CSLS translations; the
    map with the best one is refined by :func:`align.mapping.refinement.muse_refinement`.

    Parameters
    ----------
    X : ndarray, shape (n_src, dim)
    Y : ndarray, shape (n_tgt, dim)
        Most frequent words first. MUSE does not normalise them.
    n_epochs : int
    epoch_size : int
        Source words drawn in an epoch.
    batch_size : int
        Words of either language.
    most_frequent : int
        Words of each side that are drawn, all alike.
    hidden_dim : int
    discriminator_steps : int
        For every step of the map.
    lr : float
        Of both; times `lr_decay` after every epoch, and times `lr_shrink` whenever the criterion falls, the
        first time excepted.
    smoothing : float
        The discriminator's labels are that far from 0 and 1.
    input_dropout : float
    beta : float
    n_refinement : int
    max_rank : int
        Words of each side that the criterion and the refinement use.
    k : int
        Neighbours of CSLS.
    seed : int
    device : str
        Torch device. The draws are the same on each.
    progress : callable, optional
        Called with the epoch, from 1, and its criterion.

    Returns
    -------
    BilingualMap
        ``history`` is the criterion of every epoch. ``converged`` is False, with a warning and a ``failure``
        among ``options``, if the criterion of the refined map (``criterion``) is not a tenth above what the
        same refinement makes of random rotations (``chance``): then it holds no translations. After a
        KeyboardInterrupt it is the refined best map so far, with ``converged`` False.

    Raises
    ------
    UsageError
        For settings outside their range.
    InputError
        For spaces of different width, NaN or infinity.
    UnavailableError
        For a torch device that is not there.

    Notes
    -----
    A million words an epoch with the published network are 3e14 operations: minutes on a GPU, hours on a CPU.
    The criterion and the refinements take ``2 + 6 (1 + n_refinement)`` products of (max_rank, dim, max_rank).
    """
    settings = _Settings(
        batch_size, most_frequent, hidden_dim, discriminator_steps, smoothing, input_dropout, beta
    )
    _check(X, Y, settings, n_epochs, epoch_size, lr)
    X, Y = (np.ascontiguousarray(rows, np.float32) for rows in (X, Y))
    game = _Game(X, Y, settings, seed, device)
    history: list[float] = []
    best, best_W, interrupted, fell = -np.inf, np.eye(X.shape[1]), False, False
    try:
        for epoch in range(1, n_epochs + 1):
            for _ in range(0, epoch_size, batch_size):
                game.play(lr)
            W = game.map()
            criterion = translation_cosine(X[:max_rank], Y[:max_rank], W, k=k)[0]
            history.append(criterion)
            lr *= lr_decay
            if criterion > best:
                best, best_W = criterion, W
            else:
                lr *= lr_shrink if fell else 1.0
                fell = True
            if progress is not None:
                progress(epoch, criterion)
    except KeyboardInterrupt:
        interrupted = True
        if not history:
            best_W = game.map()
    options = {
        "epoch_size": epoch_size,
        "batch_size": batch_size,
        "most_frequent": most_frequent,
        "hidden_dim": hidden_dim,
        "discriminator_steps": discriminator_steps,
        "smoothing": smoothing,
        "input_dropout": input_dropout,
        "beta": beta,
    }
    return refine_and_judge(
        X,
        Y,
        best_W,
        method="adversarial",
        history=tuple(history),
        options=options,
        interrupted=interrupted,
        n_refinement=n_refinement,
        max_rank=max_rank,
        k=k,
        seed=seed,
    )


def _check(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    settings: _Settings,
    n_epochs: int,
    epoch_size: int,
    lr: float,
) -> None:
    if X.ndim != 2 or Y.ndim != 2 or X.shape[1] != Y.shape[1] or not len(X) or not len(Y):
        raise InputError("spaces differ in width", got=f"{X.shape}, {Y.shape}", wanted="(n, dim) twice")
    if not np.isfinite(X).all() or not np.isfinite(Y).all():
        raise InputError("the vectors to align hold NaN or infinity", wanted="finite numbers")
    counts = {
        "n_epochs": n_epochs,
        "epoch_size": epoch_size,
        "lr": lr,
        "batch_size": settings.batch_size,
        "most_frequent": settings.most_frequent,
        "hidden_dim": settings.hidden_dim,
        "discriminator_steps": settings.discriminator_steps,
    }
    for name, number in counts.items():
        if number <= 0:
            raise UsageError(f"{name} is out of range", got=number, wanted="a positive number")
    if not 0 <= settings.smoothing < 0.5 or not 0 <= settings.input_dropout < 1:
        raise UsageError(
            "settings out of range",
            got=f"smoothing {settings.smoothing}, input_dropout {settings.input_dropout}",
            wanted="0 <= smoothing < 0.5, 0 <= input_dropout < 1",
        )


class _Game:
    """The map and the discriminator, and a round of training both."""

    def __init__(
        self, X: NDArray[np.float32], Y: NDArray[np.float32], settings: _Settings, seed: int, device: str
    ) -> None:
        import torch

        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UnavailableError(
                "the torch device is not there", got=device, hint="Pass device='cpu'"
            ) from error
        self.settings = settings
        self.spaces = tuple(
            torch.from_numpy(rows[: settings.most_frequent]).to(self.device) for rows in (X, Y)
        )
        # all chance is drawn on the processor, so that devices differ by rounding alone
        self.generator = torch.Generator().manual_seed(seed)
        dim, hidden = X.shape[1], settings.hidden_dim
        self.W = torch.eye(dim, device=self.device, requires_grad=True)
        self.layers = []
        for n_in, n_out in ((dim, hidden), (hidden, hidden), (hidden, 1)):
            bound = n_in**-0.5
            for shape in ((n_out, n_in), (n_out,)):
                layer = (torch.rand(shape, generator=self.generator) * 2 - 1) * bound
                self.layers.append(layer.to(self.device).requires_grad_())

    def play(self, lr: float) -> None:
        """Some steps of the discriminator, one of the map, and the map drawn towards a rotation."""
        import torch

        size, smoothing = self.settings.batch_size, self.settings.smoothing
        right = torch.full((2 * size,), smoothing, device=self.device)
        right[:size] = 1 - smoothing  # source rows
        for _ in range(self.settings.discriminator_steps):
            with torch.no_grad():
                rows = torch.cat([self._draw(0) @ self.W, self._draw(1)])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(self._logits(rows), right)
            self._descend(self.layers, loss, lr)
        # labels are swapped; target rows do not depend on the map, so only their share of the mean remains
        logits = self._logits(self._draw(0) @ self.W)
        wrong = torch.full((size,), smoothing, device=self.device)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wrong) / 2
        self._descend([self.W], loss, lr)
        beta = self.settings.beta
        with torch.no_grad():
            self.W.copy_((1 + beta) * self.W - beta * self.W @ self.W.T @ self.W)

    def map(self) -> NDArray[np.float64]:
        """The map so far."""
        W: NDArray[np.float64] = self.W.detach().cpu().numpy().astype(np.float64)
        return W

    def _draw(self, side: int) -> torch.Tensor:
        import torch

        rows = self.spaces[side]
        ids = torch.randint(len(rows), (self.settings.batch_size,), generator=self.generator)
        return rows[ids.to(self.device)]

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        dropout = self.settings.input_dropout
        kept = torch.rand(rows.shape, generator=self.generator) >= dropout
        h = rows * (kept.to(self.device) / (1 - dropout))
        functional = torch.nn.functional
        for n in (0, 2):
            h = functional.leaky_relu(functional.linear(h, self.layers[n], self.layers[n + 1]), 0.2)
        return functional.linear(h, self.layers[4], self.layers[5])[:, 0]

    @staticmethod
    def _descend(parameters: list[torch.Tensor], loss: torch.Tensor, lr: float) -> None:
        import torch

        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=lr)
