"""Mel bands of tones and of noise, patches against plain loops, files at another rate."""

import numpy as np
import pytest
from scipy.io import wavfile

from analyses.reversal import sound

RNG = np.random.default_rng(1)


def tone(frequency, rate=sound.RATE, seconds=1.0):
    return 0.4 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize(("frequency", "band"), [(300, 1), (1000, 7), (5000, 20)])
def test_a_tone_falls_into_its_band(frequency, band):
    """Centres are 1/25 of the way from 150.5 mel (100 Hz) to 2840 mel (8 kHz) apart."""
    step = (2840.0 - 150.5) / 25
    assert round((2595 * np.log10(1 + frequency / 700) - 150.5) / step) - 1 == band
    mels = sound.measure_mels(sound.cut_frames(tone(frequency)))
    assert mels.shape == (98, 24)
    assert (mels.argmax(1) == band).all()


def test_bands_of_white_noise():
    """A band's triangle has area 1 over Hz: noise gives each var * sum(window^2) * 512 / 16000."""
    frames = 0.3 * RNG.normal(size=(4000, 400))
    energy = np.exp(sound.measure_mels(frames)).mean(0)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    expected = 0.09 * (window**2).sum() * 512 / 16000
    # The lowest bands are 2 and 3 frequencies wide, so that theirs is a coarse sum.
    np.testing.assert_allclose(energy[6:], expected, rtol=0.05)


def test_silence_has_the_least_energy():
    assert (sound.measure_mels(np.zeros((2, 400))) == np.log(1e-10)).all()


def test_patches_against_plain_loops():
    heard = RNG.normal(size=32_000) * np.repeat([0.01, 1.0, 0.01, 0.5], 8000)
    emphasised = [heard[0]] + [heard[i] - 0.97 * heard[i - 1] for i in range(1, len(heard))]
    frames = np.array([emphasised[160 * k : 160 * k + 400] for k in range(198)])
    energy = [sum(frame**2) for frame in frames]
    bands, expected = sound.measure_mels(frames), []
    for start in range(0, 198 - 68 + 1, 5):
        loud = sum(one > 0.03 * np.mean(energy) for one in energy[start : start + 68])
        if loud > 0.4 * 68:
            patch = bands[start : start + 68, :21]
            expected.append((patch - patch.mean()) / patch.std())
    found = sound.cut_patches(heard, 5)
    assert 5 < len(expected) < 27
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_file_becomes_one_channel_at_the_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(sound, "MAX_SECONDS", 2)
    left = tone(440, 44_100, seconds=3)
    both = np.column_stack([left, 0 * left]).astype(np.float32)
    wavfile.write(tmp_path / "tone.wav", 44_100, both)
    found = sound.read_sound(tmp_path / "tone.wav")
    assert found.shape == (32_000,)
    np.testing.assert_allclose(found[200:-200], tone(440, seconds=2)[200:-200] / 2, atol=1e-3)
