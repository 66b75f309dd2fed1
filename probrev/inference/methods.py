"""What the command line must know of inference and looks without loading them."""

# Names of the inference methods.
METHODS = ("exact", "gibbs", "hmc", "message_passing")
# Observations of every look of a comparison that is told no number.
LOOKS = (32, 128, 512)
