"""Names of the inference methods, known without loading any."""

# The most trusted first: the order in which a default is chosen.
METHODS = ("exact", "gibbs", "message_passing", "hmc")
