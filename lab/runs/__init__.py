"""A run: plan its cells, boot boards, run pytest on them, collect results, try again what the lab broke."""
