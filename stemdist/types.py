"""Types of choices: what an editor completes and ``--help`` lists.

Where plug-ins may add names, the type also admits any other text, which is checked when it is
used. ``tests/test_types.py`` holds these lists against the registries.
"""

from __future__ import annotations

from typing import Literal

CalendarFeature = Literal["auto", "none", "time_of_day", "day_of_week", "day_of_year"]
CsvColumns = Literal["sensors", "variables"]
Acceptable = Literal["extremes", "units", "step"]
ReaderName = (
    Literal[
        "basicts",
        "csv",
        "grib",
        "largest",
        "metr_la",
        "netcdf",
        "parquet",
        "pems_npz",
        "windows_npz",
        "zarr",
    ]
    | str
)
GraphName = Literal["auto", "grid", "knn", "distance", "correlation", "adjacency"] | str

Clustering = Literal["kmeans", "minibatch", "ward", "random"]
Representative = Literal["medoid", "mean"]
WindowSelection = Literal["kmeans", "k-center", "herding", "craig", "contiguous", "random"]
SamplerName = Literal["tpe", "gp", "random"]
PrunerName = Literal["none", "median", "halving", "hyperband"]
WindowTimes = Literal["auto", "own", "shared"]
Labels = Literal["expert", "observed", "mixed", "incremental"]
Effort = Literal["quick", "default", "thorough"]
DistillMethod = Literal[
    "default",
    "granular",
    "stemdist",
    "random",
    "kmeans",
    "k-center",
    "herding",
    "craig",
    "condtsf",
    "mtt",
    "tesla",
    "datm",
    "timedc",
    "moments",
    "frepo",
    "rat-bptt",
    "dm",
    "idm",
]
SynthesizerName = (
    Literal[
        "closed-form",
        "distribution-matching",
        "gradient-matching",
        "improved-distribution-matching",
        "kernel-ridge",
        "network-pool",
        "selection",
        "trajectory-matching",
    ]
    | str
)
ParametrisationName = Literal["series", "spectral", "tensor"] | str

ForecasterName = (
    Literal[
        "agcrn",
        "binned-rnn",
        "bottleneck-mlp",
        "cnn",
        "dcrnn",
        "decomposition-mlp",
        "dlinear",
        "graph-transformer",
        "graph-wavenet",
        "gru",
        "hf-patchtsmixer",
        "hf-patchtst",
        "image-mixer",
        "itransformer",
        "linear",
        "lowrank-linear",
        "lstm",
        "mlp",
        "module",
        "mtgnn",
        "patchtst",
        "resnet",
        "rlinear",
        "rnn",
        "simvp",
        "spectral-evolution",
        "stgcn",
        "stnorm",
        "tsmixer",
        "unet",
    ]
    | str
)
Schedule = Literal["one-cycle", "cosine", "constant"]
Loss = Literal["mse", "mae", "huber", "quantile"]
Scaling = Literal["global", "location"]
InitTimes = Literal["last", "test", "all"]

TeachMethod = Literal[
    "soft-labels",
    "undistilled",
    "timedistill",
    "distilts",
    "distilts-frequency",
    "distilts-linear",
    "distilts-trend",
    "sdkd",
    "easyst",
    "lstm-rnn",
    "gru-linear",
    "cnn-rnn",
    "transformer-layer",
    "hints",
    "attention-transfer",
    "relational",
]
TeacherCombination = Literal["mean", "adaptive"]

ReferenceName = (
    Literal[
        "full",
        "full-expert",
        "random",
        "random-expert",
        "coreset",
        "clustered",
        "clustered-expert",
        "compressed",
        "distilled",
        "pruned",
    ]
    | str
)
ErrorName = Literal[
    "mae",
    "rmse",
    "crps",
    "mape",
    "relative_rmse",
    "relative_mae",
    "mase",
    "standardised_mse",
    "standardised_mae",
]
BudgetName = Literal["equal", "converged", "both"]
ExportFormat = Literal["npz", "parquet"]
Shuffle = Literal["auto", "always", "never"]
HoldOutPattern = Literal["scattered", "region"]
