"""Sound for inaSpeechSegmenter's nets: mel bands of real speech and music, cut into patches.

The package ships no sound: speech is the words of Debian's alsa-utils, music that of its
frozen-bubble-data. Features are the package's, written anew; which patches are kept is ours.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import resample_poly

from analyses.third_party import ALSA, FROZEN_BUBBLE, find

# In Hz, and of each file at most so many seconds.
RATE, MAX_SECONDS = 16_000, 60
PRE_EMPHASIS = 0.97
# In samples.
FRAME_LENGTH, FRAME_STEP, FFT_LENGTH = 400, 160, 512
NUM_MELS, LOWEST, HIGHEST = 24, 100, 8000
# Least energy of a band, about what rounding to 16 bits makes: some words begin in digital silence.
FLOOR = 1e-10
# Frames of a patch, and the lowest bands, which the nets that tell speech from music read.
PATCH_LENGTH, NUM_BANDS = 68, 21
# A frame is loud above this share of its file's mean energy; a patch is kept above that of loud
# frames.
LOUD, KEPT = 0.03, 0.4
SPEECH, MUSIC = 0, 1
# Frames from one patch to the next.
PATCH_STEP = {SPEECH: 2, MUSIC: 16}
SIDES = ("Front_Center", "Front_Left", "Front_Right", "Rear_Center", "Rear_Left", "Rear_Right")
FILES = {
    SPEECH: [(ALSA, f"{side}.wav") for side in (*SIDES, "Side_Left", "Side_Right")],
    MUSIC: [
        (FROZEN_BUBBLE, f"snd/{title}.ogg")
        for title in ("introzik", "frozen-mainzik-1p", "frozen-mainzik-2p")
    ],
}


class Patches(NamedTuple):
    """Patches of sound as the nets read them, SPEECH or MUSIC, and which file each is from."""

    mels: Float[np.ndarray, "patch frame band"]
    labels: Int[np.ndarray, " patch"]
    files: Int[np.ndarray, " patch"]


def load_patches() -> Patches:
    """The patches of all files.

    Raises:
        FileNotFoundError: a file is absent; the message has the command that installs it.
        ImportError: soundfile is not installed.
    """
    mels, labels = [], []
    for label, files in FILES.items():
        for file in files:
            mels.append(cut_patches(read_sound(find(*file)), PATCH_STEP[label]))
            labels.append(label)
    sizes = list(map(len, mels))
    return Patches(
        np.concatenate(mels), np.repeat(labels, sizes), np.repeat(np.arange(len(mels)), sizes)
    )


def read_sound(path: Path) -> Float[np.ndarray, " sample"]:
    """The beginning of a file of sound, all channels together, at RATE."""
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("sound needs soundfile, the extra data: uv run --extra data") from error
    with soundfile.SoundFile(path) as file:
        sound = file.read(MAX_SECONDS * file.samplerate, always_2d=True).mean(1)
        return resample_poly(sound, RATE, file.samplerate)


def cut_patches(
    sound: Float[np.ndarray, " sample"], step: int
) -> Float[np.ndarray, "patch frame band"]:
    """The loud patches of a sound, each of mean 0 and standard deviation 1.

    Args:
        sound: at RATE, at least as long as a patch.
        step: frames from one patch to the next.
    """
    frames = cut_frames(sound)
    energy = (frames**2).sum(1)
    loud = sliding_window_view(energy > LOUD * energy.mean(), PATCH_LENGTH)[::step].mean(1) > KEPT
    bands = measure_mels(frames)[:, :NUM_BANDS]
    patches = sliding_window_view(bands, PATCH_LENGTH, axis=0)[::step][loud].swapaxes(1, 2)
    inside = (1, 2)
    patches = patches - patches.mean(inside, keepdims=True)
    return patches / patches.std(inside, keepdims=True)


def cut_frames(sound: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "frame sample"]:
    """Frames of the sound with its high frequencies emphasised."""
    emphasised = np.append(sound[:1], sound[1:] - PRE_EMPHASIS * sound[:-1])
    return sliding_window_view(emphasised, FRAME_LENGTH)[::FRAME_STEP]


def measure_mels(frames: Float[np.ndarray, "frame sample"]) -> Float[np.ndarray, "frame mel"]:
    """Log energies of a frame's mel bands, at least log FLOOR."""
    spectrum = np.fft.rfft(frames * np.hanning(FRAME_LENGTH), FFT_LENGTH)
    return np.log(np.maximum(np.abs(spectrum) ** 2 @ make_filters().T, FLOOR))


def make_filters() -> Float[np.ndarray, "mel bin"]:
    """Triangles of the same area over the frequencies of a spectrum, evenly spaced in mel.

    Each begins at the centre of the one before and ends at the centre of the next.
    """
    lowest, highest = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, NUM_MELS + 2) / 2595) - 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequency = np.fft.rfftfreq(FFT_LENGTH, 1 / RATE)
    rising, falling = (frequency - low) / (centre - low), (high - frequency) / (high - centre)
    return np.maximum(np.minimum(rising, falling), 0) * 2 / (high - low)
