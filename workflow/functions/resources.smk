# What the rules of all stages ask for: memory and time.
def more(amount, otherwise=None, condition=lambda wildcards: True):
    """A resource that grows with each attempt: `amount`, or `otherwise` for wildcards that do not fit `condition`."""
    return lambda wildcards, attempt: attempt * (
        amount if condition(wildcards) else otherwise
    )
