"""Whether trained nets reverse their own generative direction."""
