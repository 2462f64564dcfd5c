"""The nouns of iosim: records, stages, costs, scenario, random draws. Nothing here imports SimPy."""
