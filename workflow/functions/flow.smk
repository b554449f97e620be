# What the rules of flows ask for: inputs, arguments, entries.
def evaluations_of(table):
    """How often a table's flows ask for the velocity, by method: of those that only their steps set apart."""
    chains = {name: CHAINS[name] for name in CONFIG["tables"][table]["methods"]}
    entries = {
        name: RESTORERS[chain.restorer]
        for name, chain in chains.items()
        if name == chain.base and chain.trained(RESTORERS) in FLOWS
    }
    defaults = registry.find(registry.RESTORERS, "resflow").Options()

    def option(entry, key):
        return entry["options"].get(key, getattr(defaults, key))

    return {
        name: evaluations(option(entry, "steps"), option(entry, "solver"))
        * (option(entry, "samples") if option(entry, "auxiliary") == "averaged" else 1)
        for name, entry in entries.items()
        if without_steps(entry) == without_steps(RESTORERS[entry["model"]])
    }


def without_steps(entry):
    return {key: value for key, value in entry["options"].items() if key != "steps"}


def flow_of_table(wildcards):
    table = CONFIG["tables"][wildcards.table]
    name = CHAINS[next(iter(evaluations_of(wildcards.table)))].trained(RESTORERS)
    return f"results/flows/{table['datasets'][0]}/{name}/seed{SEEDS[0]}"
