"""ListPatterns, GetPattern and ComparePatterns: counts, histograms, variables and samples of patterns and templates."""
