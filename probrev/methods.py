"""Names of the inference methods, for those who must not load them."""

METHODS = ("exact", "gibbs", "hmc", "message_passing")
