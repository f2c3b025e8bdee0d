"""Real skies: what methods make of them beside the CMB maps that others published."""
