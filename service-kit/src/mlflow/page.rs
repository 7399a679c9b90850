//! Where people look at a run in MLflow.

use super::tracking::{Authorization, Tracking};
use crate::error::CliError;

/// The pages of one MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    base: String,
}

impl Pages {
    /// Those at an address.
    ///
    /// # Errors
    /// When it is none; credentials in it are left out.
    pub fn new(url: &str) -> Result<Self, CliError> {
        let base = Tracking::new(url, Authorization::None)
            .map_err(|error| error.help("set CEREBROS_MLFLOW_PUBLIC_URL or --mlflow-public-url to MLflow's address as people open it"))?
            .url()
            .to_owned();
        Ok(Self { base })
    }

    /// The page of a run.
    pub fn run(&self, experiment: &str, run: &str) -> String {
        format!("{}/#/experiments/{experiment}/runs/{run}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_page_of_its_own() {
        let pages = Pages::new("https://me:secret@mlflow.example/ui/").unwrap();
        assert_eq!(pages.run("7", "ab"), "https://mlflow.example/ui/#/experiments/7/runs/ab");
        assert!(
            Pages::new("mlflow.example").unwrap_err().help.is_some_and(|help| help.contains("PUBLIC_URL"))
        );
    }
}
