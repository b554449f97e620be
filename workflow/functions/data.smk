# What the rules of the photographs ask for: inputs, arguments, entries.
def photos_entry(wildcards):
    """What of a dataset's entry its images depend on, as JSON."""
    entry = DATASETS[wildcards.dataset]
    later = ("operator", "assumed", "border", "trained_on")
    return json.dumps({key: entry[key] for key in entry if key not in later})


# A user's folders are looked at again in every run: their listing is a parameter, so a new photo makes a new dataset.
def listing(wildcards):
    return insist(settings.folder_listing, DATASETS[wildcards.dataset])
