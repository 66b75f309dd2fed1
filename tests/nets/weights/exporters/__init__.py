"""What writes the corpus. Keras asks for its backend when it is imported, so it is told first."""

import os

os.environ["KERAS_BACKEND"] = "jax"
