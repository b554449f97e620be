# What the rules of priors ask for: inputs, arguments, entries.
def is_learned_prior(wildcards):
    return learned(registry.PRIORS, PRIORS[wildcards.method]["kind"])


def prior_code(script):
    return lambda wildcards: code(
        script,
        (registry.PRIORS, PRIORS[wildcards.method]["kind"]),
        *operators_of(wildcards),
    )


def operators_of(wildcards):
    """The operators that a dataset is observed by and that methods are told, by their registry and kind."""
    dataset = DATASETS[wildcards.dataset]
    kinds = {dataset[key]["kind"] for key in ("operator", "assumed") if key in dataset}
    return [
        (registry.OPERATORS, "kernel" if kind == ESTIMATED else kind)
        for kind in sorted(kinds)
    ]


def operator_of(wildcards):
    """The operator that observes a dataset's test images."""
    return json.dumps(DATASETS[wildcards.dataset]["operator"])


def estimated_operator(wildcards):
    """The file of an operator that is estimated from pairs; none where it is known."""
    settings = DATASETS[wildcards.dataset].get("operator", {})
    if settings.get("kind") != ESTIMATED:
        return []
    return f"results/operators/{wildcards.dataset}/seed{wildcards.seed}.json"


def told_operator(wildcards):
    """The operator as priors are told of it: its settings, or the file that has them."""
    dataset = DATASETS[wildcards.dataset]
    return estimated_operator(wildcards) or json.dumps(
        dataset.get("assumed", dataset["operator"])
    )


def pairs_of_operator(wildcards):
    """The pairs that tell of an operator."""
    degradation = DATASETS[wildcards.dataset]["operator"]["degradation"]
    return f"results/pairs/{source_of(wildcards)}/{degradation}/seed{wildcards.seed}/degraded.npy"


def observations_to_learn(wildcards):
    """The observations, for a prior that learns from them."""
    kind = registry.find(registry.PRIORS, PRIORS[wildcards.method]["kind"])
    return f"results/observations/{wildcards.dataset}" if kind.from_observations else []


def fit_prior_arguments(wildcards, input):
    """The operator, for a prior that cannot learn without, and the observations."""
    kind = registry.find(registry.PRIORS, PRIORS[wildcards.method]["kind"])
    words = ["--operator", told_operator(wildcards)] if kind.needs_operator else []
    return words + (
        ["--observations", input.observations] if input.observations else []
    )


def border_of(wildcards):
    return DATASETS[wildcards.dataset].get("border", 0)
