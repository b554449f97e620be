# Photographs: found, then cut into the tiles and images that every later stage reads.


# A user's folders are looked at again in every run: their listing is a parameter, so a new photo makes a new dataset.
def listing(wildcards):
    return settings.folder_listing(DATASETS[wildcards.dataset])


rule download:
    output:
        "results/sources/{dataset}/sources.csv",
    params:
        entry=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        listing=listing,
        code=code("download.py"),
    log:
        "results/logs/download/{dataset}.log",
    benchmark:
        "results/benchmarks/download/{dataset}.tsv"
    localrule: True
    shell:
        "{PYTHON}/download.py --entry {params.entry:q} --out results/sources/{wildcards.dataset} 2>&1 | tee {log}"


rule preprocess:
    input:
        "results/sources/{dataset}/sources.csv",
    output:
        "results/data/{dataset}/index.csv",
    params:
        entry=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        code=code("preprocess.py"),
    log:
        "results/logs/preprocess/{dataset}.log",
    benchmark:
        "results/benchmarks/preprocess/{dataset}.tsv"
    resources:
        mem_mb=more(4000),
        runtime=more(60),
    shell:
        "{PYTHON}/preprocess.py --entry {params.entry:q} --sources {input} --out results/data/{wildcards.dataset} 2>&1 | tee {log}"
