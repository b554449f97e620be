# What the rules of restorers ask for: inputs, arguments, entries.
def training_pairs(wildcards):
    degradation = chain_of(wildcards).degradation
    if degradation is None or borrows(wildcards):
        return []
    return f"results/pairs/{wildcards.dataset}/{degradation}/seed{wildcards.seed}/degraded.npy"


def published_weights(wildcards):
    """Where the weights of the catalogue that a restorer names are said to lie."""
    options = RESTORERS[chain_of(wildcards).restorer].get("options", {})
    names = {weights.find(reference)[0] for reference in weights.references(options)}
    return [f"results/weights/{name}.json" for name in sorted(names)]


def restorer_code(script):
    return lambda wildcards: code(
        script, (registry.RESTORERS, RESTORERS[chain_of(wildcards).restorer]["kind"])
    )


def lender(wildcards):
    """The model whose weights a restorer applies, where they are not its own."""
    if not borrows(wildcards):
        return []
    name = chain_of(wildcards).trained(RESTORERS)
    return f"results/models/{wildcards.dataset}/{name}/seed{wildcards.seed}/model.json"


def fit_arguments(wildcards, input):
    if input.lender:
        return f"--weights-of {Path(input.lender).parent}"
    return f"--pairs {Path(input.pairs).parent}" if input.pairs else ""
