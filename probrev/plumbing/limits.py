"""How large a number may be that counts something, or seeds it."""

# No count is larger: JAX counts in 32 bits, and nothing of that size fits memory.
MOST_COUNT = 10**9
# Random seeds are below it: those of JAX have 63 bits.
SEEDS = 2**63
