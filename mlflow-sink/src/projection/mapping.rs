//! What becomes what in MLflow: the one list, which the documentation is written from and the projection is held
//! against.

mod page;
mod rows;

pub use page::document;
pub use rows::ROWS;

/// Where in MLflow something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The parent run: one search.
    Run,
    /// The nested run: one trial.
    Trial,
}

/// What it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A column of the run itself.
    Field,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
    /// A metric.
    Metric,
    /// An input.
    Input,
    /// A file.
    Artifact,
    /// A logged model.
    Model,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Param => "parameter",
            Self::Tag => "tag",
            Self::Metric => "metric",
            Self::Input => "input",
            Self::Artifact => "artefact",
            Self::Model => "logged model",
        }
    }
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub on: On,
    /// What it is.
    pub kind: Kind,
    /// Its name in MLflow; a `*` at the end stands for whatever follows.
    pub name: &'static str,
    /// What it says, and from which field of which event.
    pub says: &'static str,
}

impl Row {
    /// True when this line is about a name.
    fn is_about(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// True when the list names it. Parameters, and the metrics and tags of other people, have names of their own: the list
/// tells where they come from, so only names with our prefix, or MLflow's, have to stand there by themselves.
pub fn is_listed(on: On, kind: Kind, name: &str) -> bool {
    let is_free = match kind {
        Kind::Param | Kind::Metric => true,
        Kind::Tag => !name.starts_with("cerebros.") && !name.starts_with("mlflow."),
        Kind::Field | Kind::Input | Kind::Artifact | Kind::Model => false,
    };
    is_free || ROWS.iter().any(|row| row.on == on && row.kind == kind && row.is_about(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Kind::Tag;
    use super::*;

    #[test]
    fn no_name_is_listed_twice() {
        let mut seen = BTreeSet::new();
        for row in ROWS {
            assert!(seen.insert((row.on == On::Run, row.kind.word(), row.name)), "{row:?}");
        }
    }

    #[test]
    fn what_is_not_listed_is_found_out() {
        assert!(is_listed(On::Trial, Tag, "cerebros.failure.class") && is_listed(On::Run, Tag, "team"));
        assert!(!is_listed(On::Trial, Tag, "cerebros.unheard") && !is_listed(On::Run, Tag, "mlflow.unheard"));
    }
}
