# What the rules of transports and of the table of biases ask for: inputs, arguments, entries.
def autoencoder_of(wildcards):
    """The autoencoder in whose latents a job works."""
    if "autoencoder" in wildcards.keys():
        return wildcards.autoencoder
    return TRANSPORTS[chain_of(wildcards).transport]["autoencoder"]


def autoencoder_files(wildcards):
    """What an autoencoder needs: its trained model on the dataset that was trained on, or published weights."""
    name = autoencoder_of(wildcards)
    if learned(registry.AUTOENCODERS, AUTOENCODERS[name]["kind"]):
        source = settings.trained_on(CONFIG, wildcards.dataset)
        return f"results/models/{source}/{name}/seed{wildcards.seed}/model.json"
    return weight_files(registry.AUTOENCODERS, AUTOENCODERS[name])


def autoencoder_argument(wildcards):
    """A trained autoencoder's folder, or the entry of one that is not."""
    entry = AUTOENCODERS[autoencoder_of(wildcards)]
    if learned(registry.AUTOENCODERS, entry["kind"]):
        return str(Path(autoencoder_files(wildcards)).parent)
    options = weights.localised(
        entry.get("options", {}), Path(CONFIG["data"]["folder"])
    )
    return json.dumps({"kind": entry["kind"], "options": options})


def transport_entry(wildcards):
    entry = TRANSPORTS[chain_of(wildcards).transport]
    parts = ("kind", "options", "alphas", "autoencoder")
    return json.dumps({part: entry[part] for part in parts if part in entry})


def base_model(wildcards):
    """The fitted restorer whose images are moved."""
    return f"results/models/{wildcards.dataset}/{chain_of(wildcards).base}/seed{wildcards.seed}/model.json"


def base_restored(wildcards):
    return f"results/restored/{wildcards.dataset}/{chain_of(wildcards).base}/seed{wildcards.seed}"


def statistics_pairs(wildcards):
    """Pairs whose degraded images, restored, and whose clean ones give a transport's statistics."""
    degradation = settings.statistics_of(CONFIG, chain_of(wildcards))
    if degradation is None:
        return []
    return f"results/pairs/{content_of(wildcards)}/{degradation}/seed{wildcards.seed}/degraded.npy"


def content_of(wildcards):
    """The dataset whose images a transport's statistics come from."""
    transport = TRANSPORTS[chain_of(wildcards).transport]
    return transport.get("content", wildcards.dataset)


def natural_dataset(wildcards):
    """The index of the dataset whose clean images are the aim, where it is another one."""
    name = TRANSPORTS[chain_of(wildcards).transport].get("natural")
    return f"results/data/{name}/index.csv" if name else []


def statistics_arguments(wildcards, input):
    words = []
    if input.pairs:
        degradation = DEGRADATIONS[settings.statistics_of(CONFIG, chain_of(wildcards))]
        content = content_of(wildcards)
        words += ["--pairs", Path(input.pairs).parent]
        words += ["--content", f"results/data/{content}"]
        words += ["--part", settings.part_of(degradation)]
    words += ["--natural", Path(input.natural).parent] if input.natural else []
    return list(map(str, words))


def transport_code(script):
    """A digest that also holds the kinds of transport, autoencoder and restorer."""

    def digest(wildcards):
        kind = AUTOENCODERS[autoencoder_of(wildcards)]["kind"]
        kinds = [(registry.AUTOENCODERS, kind)]
        chain = chain_of(wildcards) if "autoencoder" not in wildcards.keys() else None
        if chain:
            kinds += [
                (registry.TRANSPORTS, TRANSPORTS[chain.transport]["kind"]),
                (registry.RESTORERS, RESTORERS[chain.restorer]["kind"]),
            ]
        return code(script, *kinds)

    return digest


def bias_entry(wildcards):
    """What a problem's maps depend on: not which other problems there are."""
    options = {
        key: value
        for key, value in CONFIG["bias"]["options"].items()
        if key not in ("dimensions", "patch_size", "seeds")
    }
    return json.dumps({"options": options, "training": CONFIG["bias"]["training"]})


def bias_runs(wildcards):
    options = make_options(BiasOptions, "bias", CONFIG["bias"]["options"])
    return expand(
        "results/bias/{problem}/seed{seed}.csv",
        problem=options.problems(),
        seed=options.seeds,
    )
