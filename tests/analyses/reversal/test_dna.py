"""Fragments and k-mers of DNA, against slices of the text."""

import gzip

import numpy as np

from analyses.reversal import dna


def test_kmers_against_slices_of_the_text():
    texts = ["ACGTTACGNACG", "TTTTTTaTTTTT"]
    number = {base: value for value, base in enumerate("ACGT")}
    fragments = np.array([[number.get(base, -1) for base in text] for text in texts])
    counts = dna.count_kmers(fragments, 3)
    assert counts.shape == (2, 64)
    words = ["".join((a, b, c)) for a in "ACGT" for b in "ACGT" for c in "ACGT"]
    for text, row in zip(texts, counts, strict=True):
        slices = [text[start : start + 3] for start in range(len(text) - 2)]
        np.testing.assert_array_equal(row, [slices.count(word) for word in words])


def test_sequences_become_fragments_with_the_class_of_their_file(packages, monkeypatch):
    monkeypatch.setattr(dna, "FRAGMENT_LENGTH", 4)
    folder = packages / "tiara" / "test" / "test_data"
    folder.mkdir(parents=True)
    texts = {
        "plast": ">one more words\nACG\nTacGT\nA\n>two\r\nTTT\r\nN\r\n",
        "mitochondria": ">m\nGGG\n",  # shorter than a fragment
        "bacteria": ">b\nCCCC\n",
        "archaea": ">a\nAAAA\n",
        "eukarya": ">e\nGGGGTTTT\n",
    }
    for origin, text in texts.items():
        with gzip.open(folder / f"{origin}_fr.fasta.gz", "wb") as file:
            file.write(text.encode())
    found = dna.read_fragments()
    np.testing.assert_array_equal(
        found.bases,
        [
            [0, 1, 2, 3], [0, 1, 2, 3], [3, 3, 3, -1], [1, 1, 1, 1], [0, 0, 0, 0],
            [2, 2, 2, 2], [3, 3, 3, 3],
        ],
    )  # fmt: skip
    np.testing.assert_array_equal(found.labels, [0, 0, 0, 1, 3, 4, 4])
    np.testing.assert_array_equal(found.sequences, [0, 0, 1, 3, 4, 5, 5])
    first = dna.read_fragments(1)
    for part, whole in zip(first, found, strict=True):
        np.testing.assert_array_equal(part, whole[[0, 3, 4, 5]])


def test_kmers_are_weighed_by_their_rarity(packages):
    rarity = np.linspace(1, 2, 16)
    folder = packages / "tiara" / "models" / "tfidf-models" / "k2-first-stage"
    folder.mkdir(parents=True)
    np.save(folder / "model.npy", rarity)
    (x,) = dna.weigh_kmers(np.array([[0, 0, 0, 3]]), 2)  # AA twice, AT once
    wanted = np.zeros(16)
    wanted[[0, 3]] = 2 * rarity[0], rarity[3]
    np.testing.assert_allclose(x, wanted / np.hypot(*wanted[[0, 3]]))
