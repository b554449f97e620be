# What the rules of restorers ask for: inputs, arguments, entries.
def training_pairs(wildcards):
    """The pairs of a degradation, or those that a teacher made."""
    chain = chain_of(wildcards)
    if chain.degradation is None or borrows(wildcards):
        return []
    teacher = chain.teacher(RESTORERS)
    made_by = teacher.name if teacher else chain.degradation
    return (
        f"results/pairs/{wildcards.dataset}/{made_by}/seed{wildcards.seed}/degraded.npy"
    )


def named_weights(wildcards):
    return weight_files(registry.RESTORERS, RESTORERS[chain_of(wildcards).restorer])


def restored_elsewhere(wildcards):
    """Names, sizes and times of images that another tool has restored: nothing else says that they were made again."""
    entry = RESTORERS[chain_of(wildcards).restorer]
    return insist(settings.listing, settings.image_folders(entry))


def restorer_code(script):
    return lambda wildcards: code(
        script, (registry.RESTORERS, RESTORERS[chain_of(wildcards).restorer]["kind"])
    )


def lender(wildcards):
    """The model whose weights a restorer applies, where they are not its own, or which a student begins with: its teacher's network."""
    chain = chain_of(wildcards)
    teacher = chain.teacher(RESTORERS)
    if not (borrows(wildcards) or teacher):
        return []
    name = (chain if borrows(wildcards) else teacher).trained(RESTORERS)
    return f"results/models/{wildcards.dataset}/{name}/seed{wildcards.seed}/model.json"


def fit_arguments(wildcards, input):
    if not input.pairs:
        return f"--weights-of {Path(input.lender).parent}" if input.lender else ""
    start = f" --start-from {Path(input.lender).parent}" if input.lender else ""
    return f"--pairs {Path(input.pairs).parent}{start}"
