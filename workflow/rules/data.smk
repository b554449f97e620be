# Photographs: found, then cut into the tiles and images that every later stage reads.


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
        python=PYTHON,
        entry=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        listing=listing,
        code=code("download.py"),
    shell:
        "{params.python}/download.py --entry {params.entry:q} --out results/sources/{wildcards.dataset} 2>&1 | tee {log}"


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
    resources:
        mem_mb=more(4000),
        runtime=more(60),
    params:
        python=PYTHON,
        entry=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        code=code("preprocess.py"),
    shell:
        "{params.python}/preprocess.py --entry {params.entry:q} --sources {input} --out results/data/{wildcards.dataset} 2>&1 | tee {log}"
