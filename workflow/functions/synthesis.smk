# What the rules of synthetic pairs ask for: inputs, arguments, entries.
def trained_model(wildcards):
    """The trained model that a degradation samples from; none for one that learns nothing."""
    entry = DEGRADATIONS[wildcards.degradation]
    if not learned(registry.DEGRADATIONS, entry["kind"]):
        return []
    return f"results/models/{source_of(wildcards)}/{entry['model']}/seed{wildcards.seed}/model.json"


def sampling_code(script):
    """The degradation's module too, and where candidates are judged that of the restorer which judges them."""

    def digest(wildcards):
        kinds = [(registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]["kind"])]
        if has_candidates(wildcards.degradation):
            judge = RESTORERS[CONFIG["selection"]["restorer"]]["kind"]
            kinds.append((registry.RESTORERS, judge))
        return code(script, *kinds)

    return digest


def selection_argument(wildcards):
    """The short training that judges candidates, where there are any."""
    if not has_candidates(wildcards.degradation):
        return ""
    selection = CONFIG["selection"]
    training = {
        "steps": selection["steps"],
        "copies": selection["copies"],
        "entry": with_local_weights(RESTORERS[selection["restorer"]]),
    }
    return f"--selection {shlex.quote(json.dumps(training))}"


def judges_weights(wildcards):
    """The published weights that the restorer which judges candidates begins with."""
    if not has_candidates(wildcards.degradation):
        return []
    judge = RESTORERS[CONFIG["selection"]["restorer"]]
    return weight_files(registry.RESTORERS, judge)


def stand_in_with_part(wildcards, input):
    """Where the stand-in's pairs are, and which part of the dataset they are of: what is judged by them is not trained on."""
    if not input.stand_in:
        return ""
    part = settings.part_of(DEGRADATIONS[CONFIG["selection"]["stand_in"]])
    return f"{stand_in_argument(wildcards, input)} --stand-in-part {part}"


def model_argument(wildcards, input):
    return f"--model {Path(input.model).parent}" if input.model else ""
