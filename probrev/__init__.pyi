from .agreement import measure_agreement
from .comparison import Comparison, compare, load
from .distributions import LinearDropout, RectifiedDropout
from .feedforward import Bias, FeedforwardNet
from .gap import split_gap
from .inference.choice import choose_methods
from .inference.exact import exact
from .inference.gibbs import GibbsKernel, gibbs
from .inference.hmc import hmc
from .inference.message_passing import message_passing
from .ladder import (
    FirstStep,
    ScalarActivation,
    UnrolledMessagePassing,
    build_ladder,
    list_rungs,
)
from .layer import Layer
from .model import LayeredModel, Model, Observations
from .net_risk import predict_net_risk
from .posterior import Posterior, from_datatree
from .priors import KSparse, SpikeAndSlab, sample_prior, sparsity_conditions
from .report import write_report
from .slabs import FiniteSlab, LogQuadraticSlab
from .state_evolution import evolve_state
from .states import FiniteStates
from .sweeps.driver import sweep
from .sweeps.grid import Grid, read_grid
from .sweeps.store import load_sweep
from .trained_net import TrainedNet, train_net

__all__ = [
    "Bias",
    "Comparison",
    "FeedforwardNet",
    "FiniteSlab",
    "FiniteStates",
    "FirstStep",
    "GibbsKernel",
    "Grid",
    "KSparse",
    "Layer",
    "LayeredModel",
    "LinearDropout",
    "LogQuadraticSlab",
    "Model",
    "Observations",
    "Posterior",
    "RectifiedDropout",
    "ScalarActivation",
    "SpikeAndSlab",
    "TrainedNet",
    "UnrolledMessagePassing",
    "build_ladder",
    "choose_methods",
    "compare",
    "evolve_state",
    "exact",
    "from_datatree",
    "gibbs",
    "hmc",
    "list_rungs",
    "load",
    "load_sweep",
    "measure_agreement",
    "message_passing",
    "predict_net_risk",
    "read_grid",
    "sample_prior",
    "sparsity_conditions",
    "split_gap",
    "sweep",
    "train_net",
    "write_report",
]
