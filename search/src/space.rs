//! The search space: which parameter sets may be tried.
//!
//! Invariants: a space is never empty, every limit was checked when it was parsed, and whatever is drawn from it or
//! bred inside it is contained in it. It deliberately knows nothing of what a parameter means to a trainer; only
//! the list of hidden layers has structure of its own.

mod defaults;
mod dialect;
mod domain;
mod error;
mod range;
mod values;

use serde_json::{Map, Value};

use crate::genome::Genome;

pub use defaults::TRAINERS;
pub(crate) use domain::Domain;
pub use error::SpaceError;
pub(crate) use error::{describe, key_path};

/// The name under which a trainer receives the list of hidden layer sizes.
pub(crate) const LAYERS: &str = "layers";

/// What may be tried: the hidden layers, if the trainer builds any, and named parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchSpace {
    layers: Option<LayerSpace>,
    /// Sorted by name, no name twice.
    parameters: Vec<(String, Domain)>,
}

/// Which lists of hidden layers may be tried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerSpace {
    /// Allowed sizes of one layer; whole numbers from 1.
    pub(crate) sizes: Domain,
    /// Allowed numbers of layers, ascending, no number twice, at least one.
    pub(crate) depths: Vec<usize>,
}

impl SearchSpace {
    /// Reads the `search_space` of a request.
    ///
    /// `null` and `{}` mean the default space of the trainer. Layers are written in any of three dialects:
    /// `{"layers": [64, 128]}` or `{"layer_sizes": [64, 128]}` list sizes (`depth` beside them lists or bounds the
    /// number of layers, 1 to 3 when absent), `{"layers": [1, 2], "neurons": [64, 128]}` lists depths and sizes.
    /// `activations` is taken as `activation`. Every other key is a parameter: a list of choices, one fixed value,
    /// or a range `{"low", "high", "log", "step", "type"}`.
    ///
    /// # Errors
    /// The first fault found, with its path, what was expected and what to do.
    pub fn parse(value: &Value, trainer: &str) -> Result<Self, SpaceError> {
        dialect::parse(value, trainer)
    }

    /// Whether a parameter set lies inside the space: every parameter present, allowed, and no other beside it.
    pub fn contains(&self, parameters: &Map<String, Value>) -> bool {
        let names = self.parameters.len() + usize::from(self.layers.is_some());
        parameters.len() == names && Genome::from_parameters(self, parameters).is_some()
    }

    /// The names of the parameters a candidate carries, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let layers = self.layers.as_ref().map(|_| LAYERS);
        layers.into_iter().chain(self.parameters.iter().map(|(name, _)| name.as_str()))
    }

    pub(crate) fn layers(&self) -> Option<&LayerSpace> {
        self.layers.as_ref()
    }

    pub(crate) fn parameters(&self) -> &[(String, Domain)] {
        &self.parameters
    }
}

impl LayerSpace {
    /// The next larger allowed number of layers.
    pub(crate) fn deeper_than(&self, depth: usize) -> Option<usize> {
        self.depths.iter().copied().find(|allowed| *allowed > depth)
    }

    /// The next smaller allowed number of layers.
    pub(crate) fn shallower_than(&self, depth: usize) -> Option<usize> {
        self.depths.iter().copied().rfind(|allowed| *allowed < depth)
    }
}
