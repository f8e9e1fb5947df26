"""The forecasters, one file each; :data:`stemdist.forecast.FORECASTERS` lists them by name."""
