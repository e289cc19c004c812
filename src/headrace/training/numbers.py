"""The numbers that every recipe can be told, each with its reason; recipes change what is better otherwise for them."""

from dataclasses import dataclass
from typing import Literal

Recipe = Literal["classify", "embed", "extract", "probe", "regress", "rerank"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["linear", "cosine", "constant"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
ClassWeights = Literal["none", "balanced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How a model is trained.

    Attributes:
        epochs: Times that every example is seen.
        rows: Examples whose mean gradient makes one step.
        pool: Updates whose rows are drawn together and parted by length; 1 draws each by itself.
        token_budget: Most tokens that are computed at a time, padding included; more rows are accumulated.
        max_tokens: Where longer texts are cut; ``None`` is the model's window.
        learning_rate: The greatest, which the schedule reaches after the warm-up.
        warmup: Share of the steps in which the learning rate grows from 0.
        weight_decay: Of matrices; vectors (biases, layer norms) have none.
        clip: The longest that a gradient may be; longer ones are scaled down.
        freeze: How many layers from the bottom, the embeddings with them, stay as they are; 0 trains all.
        patience: Measurements without progress after which it stops; ``None`` does all epochs.
        holdout: Share of the examples that is held back for measuring if no file of others is given.
        seed: Decides the order, the dropout and the weights of the head.
        device: ``auto`` takes a GPU if there is one.
        precision: Of the matrix products; ``auto`` takes bfloat16 where the processor multiplies it.
    """

    epochs: int = 3
    # Each step reads and writes every weight and its moments, so fewer of them are faster: 89 examples/s with 32 and
    # 73 with 16 (MiniLM, film reviews, 2 cores).
    rows: int = 32
    # Film reviews: with 16 a hundredth of the tokens is padding, with 1 a fifth after they were cut into batches.
    pool: int = 16
    # Activations of 2,048 tokens of MiniLM take 250 MB; more tokens at a time are no faster on a CPU.
    token_budget: int = 2048
    max_tokens: int | None = None
    # With 32 rows and one epoch of film reviews, 5e-5 gives an accuracy of 0.821, 1e-4 one of 0.837 and 2e-4 one of
    # 0.836; the Trainer of transformers has 5e-5 for 8 rows, and steps of more rows can be longer.
    learning_rate: float = 1e-4
    warmup: float = 0.1
    # As BERT was fine-tuned (https://arxiv.org/abs/1810.04805, A.3).
    weight_decay: float = 0.01
    clip: float = 1.0
    freeze: int = 0
    patience: int | None = None
    holdout: float = 0.1
    seed: int = 0
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "linear"
    device: Device = "auto"
    precision: Precision = "auto"
