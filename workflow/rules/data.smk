# Photographs: found or fetched, then cut into the tiles and images that every later stage reads.
include: "../functions/data.smk"


# Never sent to a compute node, which may not reach the internet; the mirror is taken from NOPAIRS_MIRROR.
rule download:
    output:
        "results/sources/{dataset}/sources.csv",
    log:
        "results/logs/download/{dataset}.log",
    benchmark:
        "results/benchmarks/download/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        entry=photos_entry,
        data=CONFIG["data"]["folder"],
        lock=CONFIG["data"]["lock"],
        listing=listing,
        code=code("download.py"),
    shell:
        "{params.python}/download.py --entry {params.entry:q} --data {params.data:q} --lock {params.lock:q} --out {output}"
        " 2>&1 | tee {log}"


# Local for the same reason. What was fetched stays in the folder of downloads.
rule fetch_weights:
    output:
        "results/weights/{weights}.json",
    log:
        "results/logs/fetch_weights/{weights}.log",
    benchmark:
        "results/benchmarks/fetch_weights/{weights}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        references=lambda wildcards: WEIGHTS[wildcards.weights],
        data=CONFIG["data"]["folder"],
        lock=CONFIG["data"]["lock"],
        code=code("fetch_weights.py"),
    shell:
        "{params.python}/fetch_weights.py --weights {params.references:q} --data {params.data:q} --lock {params.lock:q} --out {output}"
        " 2>&1 | tee {log}"


rule preprocess:
    input:
        "results/sources/{dataset}/sources.csv",
    output:
        "results/data/{dataset}/index.csv",
    log:
        "results/logs/preprocess/{dataset}.log",
    benchmark:
        "results/benchmarks/preprocess/{dataset}.tsv"
    group:
        "data"
    conda:
        "../../envs/nopairs.yaml"
    threads: CORES_A_DATASET
    resources:
        mem_mb=more(8000),
        runtime=more(240),
    params:
        python=with_python,
        entry=photos_entry,
        code=code("preprocess.py"),
    shell:
        "{params.python}/preprocess.py --entry {params.entry:q} --sources {input} --out results/data/{wildcards.dataset}"
        " --jobs {threads} 2>&1 | tee {log}"
