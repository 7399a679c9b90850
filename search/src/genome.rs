//! A candidate in the form strategies breed: the layers and, in the order of the space, one gene per parameter.

use rand::{Rng, RngExt};
use serde_json::{Map, Value};

use crate::space::{LAYERS, SearchSpace};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Genome {
    /// Hidden layer sizes; empty when the space has no layers.
    pub(crate) layers: Vec<Value>,
    /// One value per parameter of the space, in its order.
    pub(crate) genes: Vec<Value>,
}

impl Genome {
    pub(crate) fn random(space: &SearchSpace, rng: &mut impl Rng) -> Self {
        let layers = space.layers().map_or_else(Vec::new, |layers| {
            let depth = layers.depths[rng.random_range(0..layers.depths.len())];
            (0..depth).map(|_| layers.sizes.random(rng)).collect()
        });
        let genes = space.parameters().iter().map(|(_, domain)| domain.random(rng)).collect();
        Self { layers, genes }
    }

    /// Reads the parameters of a trial back; `None` unless they lie inside the space. Parameters the space does
    /// not name are ignored: a trainer may report more than it was given.
    pub(crate) fn from_parameters(space: &SearchSpace, parameters: &Map<String, Value>) -> Option<Self> {
        let layers = match space.layers() {
            None => Vec::new(),
            Some(allowed) => {
                let layers = parameters.get(LAYERS)?.as_array()?;
                let fits = allowed.depths.contains(&layers.len())
                    && layers.iter().all(|size| allowed.sizes.contains(size));
                fits.then(|| layers.clone())?
            }
        };
        let gene = |(name, domain): &(String, crate::space::Domain)| {
            parameters.get(name).filter(|value| domain.contains(value)).cloned()
        };
        let genes = space.parameters().iter().map(gene).collect::<Option<_>>()?;
        Some(Self { layers, genes })
    }

    /// The parameters a trainer is given.
    pub(crate) fn parameters(&self, space: &SearchSpace) -> Map<String, Value> {
        let layers = space.layers().map(|_| (LAYERS.to_owned(), Value::Array(self.layers.clone())));
        let genes = space.parameters().iter().zip(&self.genes);
        layers.into_iter().chain(genes.map(|((name, _), gene)| (name.clone(), gene.clone()))).collect()
    }
}
