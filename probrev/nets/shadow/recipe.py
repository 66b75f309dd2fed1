"""How a classifier is trained: the widths of its layers, and everything that is tuned."""

from dataclasses import dataclass, replace

from probrev.plumbing import door
from probrev.plumbing.pytree import pytree


@pytree(
    data=("num_epochs", "learning_rate", "weight_decay"),
    meta=("hidden", "batch_size", "input_keep_prob", "hidden_keep_prob"),
)
@dataclass(frozen=True)
class Recipe:
    """AdamW at a learning rate that falls to 0 as half a cosine, with dropout below every layer.

    Attributes:
        hidden: widths of the hidden layers, from x up; may be empty.
        num_epochs: passes over the images, at least 1. A pass leaves out the images that fill no
            whole batch, others every time.
        batch_size: images of a step.
        learning_rate: of the first step, positive.
        weight_decay: share of every weight that a step at learning rate 1 would take off, at least
            0; biases have none.
        input_keep_prob: probability that a unit of x survives dropout, in (0, 1], rounded to a
            multiple of 1/256, as is
        hidden_keep_prob: the same for hidden units.

    Source: Loshchilov and Hutter 2019 (arXiv:1711.05101); Srivastava et al. 2014 (JMLR 15).

    Raises:
        ValueError: an attribute out of its range.
    """

    hidden: tuple[int, ...] = (256, 128)
    num_epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    input_keep_prob: float = 0.9
    hidden_keep_prob: float = 0.5

    def __post_init__(self):
        door.sequence("hidden", self.hidden)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for place, width in enumerate(self.hidden):
            door.count()(f"hidden[{place}]", width)
        for name, rule in (
            ("num_epochs", door.count()), ("batch_size", door.count()),
            ("input_keep_prob", door.probability), ("hidden_keep_prob", door.probability),
            ("learning_rate", door.positive), ("weight_decay", door.nonnegative),
        ):  # fmt: skip
            rule(name, getattr(self, name))

    @property
    def keep_probs(self) -> tuple[float, ...]:
        """Of the input of every layer, the one of the logits too."""
        return (self.input_keep_prob, *[self.hidden_keep_prob] * len(self.hidden))

    def count_steps(self, num_images: int) -> int:
        """Gradient steps in all.

        Args:
            num_images: that are trained on.
        """
        return self.num_epochs * (num_images // self.batch_size)

    def lengthen(self, times: float) -> "Recipe":
        """The same with more epochs, rounded, at least one.

        Args:
            times: how many times as many.
        """
        return replace(self, num_epochs=max(round(times * self.num_epochs), 1))
