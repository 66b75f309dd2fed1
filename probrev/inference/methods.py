"""Names of the inference methods, known without loading any."""

METHODS = ("exact", "gibbs", "hmc", "message_passing")
