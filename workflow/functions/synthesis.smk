# What the rules of synthetic pairs ask for: inputs, arguments, entries.
def trained_model(wildcards):
    """The trained model that a degradation samples from; none for one that learns nothing."""
    entry = DEGRADATIONS[wildcards.degradation]
    if not learned(registry.DEGRADATIONS, entry["kind"]):
        return []
    return f"results/models/{wildcards.dataset}/{entry['model']}/seed{wildcards.seed}/model.json"


def sampling_code(script):
    return lambda wildcards: code(
        script, (registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]["kind"])
    )


def selection_argument(wildcards):
    """The short training that judges candidates, where there are any."""
    if not has_candidates(wildcards.degradation):
        return ""
    selection = CONFIG["selection"]
    training = {
        "steps": selection["steps"],
        "copies": selection["copies"],
        "entry": RESTORERS[selection["restorer"]],
    }
    return f"--selection {shlex.quote(json.dumps(training))}"


def model_argument(wildcards, input):
    return f"--model {Path(input.model).parent}" if input.model else ""
