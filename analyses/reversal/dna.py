"""DNA for tiara's nets: its own sequences cut into fragments, and their k-mers counted."""

import gzip
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.third_party import find

FRAGMENT_LENGTH = 5000
# Files of sequences, and the class of tiara's first stage that each is of.
ORIGINS = {"plast": 0, "mitochondria": 0, "bacteria": 1, "archaea": 3, "eukarya": 4}
BASES = "ACGT"


class Fragments(NamedTuple):
    """Fragments of DNA.

    Attributes:
        bases: their numbers, -1 for any other letter.
        labels: the class that tiara's first stage should find.
        sequences: number of the sequence that each was cut from.
    """

    bases: Int[np.ndarray, "fragment base"]
    labels: Int[np.ndarray, " fragment"]
    sequences: Int[np.ndarray, " fragment"]


def read_fragments(most: int | None = None) -> Fragments:
    """Tiara's own sequences cut into fragments.

    A base counts in lower case too, which marks repeats. Tiara's own code leaves those out, and its
    nets are then right on fewer of these fragments. What is left over at the end of a sequence is
    left out.

    Args:
        most: of a file's fragments, the first so many; None for all of them.
    """
    number = np.full(256, -1, np.int8)
    for bases in (BASES, BASES.lower()):
        number[np.frombuffer(bases.encode(), np.uint8)] = np.arange(len(bases))
    fragments, labels, sequences = [], [], []
    num_sequences = 0
    for origin, label in ORIGINS.items():
        with gzip.open(find("tiara", f"test/test_data/{origin}_fr.fasta.gz"), "rb") as file:
            records = file.read().split(b">")[1:]
        found = []
        for record in records:
            sequence = record.partition(b"\n")[2].replace(b"\n", b"").replace(b"\r", b"")
            whole = len(sequence) // FRAGMENT_LENGTH * FRAGMENT_LENGTH
            found.append(number[np.frombuffer(sequence[:whole], np.uint8)])
        counts = [len(bases) // FRAGMENT_LENGTH for bases in found]
        sequences.append(num_sequences + np.repeat(np.arange(len(found)), counts)[:most])
        fragments.append(np.concatenate(found).reshape(-1, FRAGMENT_LENGTH)[:most])
        labels += [label] * len(fragments[-1])
        num_sequences += len(found)
    return Fragments(np.concatenate(fragments), np.array(labels), np.concatenate(sequences))


def weigh_kmers(
    fragments: Int[np.ndarray, "fragment base"], k: int
) -> Float[np.ndarray, "fragment kmer"]:
    """What tiara's first stage reads of a fragment: counts of k-mers times their rarity, norm 1."""
    rarity = np.load(find("tiara", f"models/tfidf-models/k{k}-first-stage/model.npy"))
    x = count_kmers(fragments, k) * rarity
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def count_kmers(
    fragments: Int[np.ndarray, "fragment base"], k: int
) -> Int[np.ndarray, "fragment kmer"]:
    """How often each word of k bases occurs, words in lexicographic order.

    Args:
        fragments: numbers of bases, 0 to 3; a word with any other is not counted.
        k: length of the words.
    """
    num_words, num_places = len(BASES) ** k, fragments.shape[1] - k + 1
    word = np.zeros((len(fragments), num_places), np.int64)
    known = np.ones_like(word, bool)
    for place in range(k):
        bases = fragments[:, place : place + num_places]
        word = word * len(BASES) + bases
        known &= bases >= 0
    word += num_words * np.arange(len(fragments))[:, None]
    counts = np.bincount(word[known], minlength=num_words * len(fragments))
    return counts.reshape(len(fragments), num_words)
