//! Where people look at a run in MLflow.

use super::tracking::{Authorization, Tracking};
use crate::error::CliError;

/// The workspace whose pages need no name.
const DEFAULT_WORKSPACE: &str = "default";

/// The pages of one MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    base: String,
    workspace: Option<String>,
}

impl Pages {
    /// Those of a server, at the address people open it at when that is another one.
    ///
    /// # Errors
    /// When that is none; credentials in it are left out.
    pub fn of(tracking: &Tracking, public: Option<&str>) -> Result<Self, CliError> {
        let base = match public.filter(|url| !url.is_empty()) {
            Some(url) => {
                Tracking::new(url, Authorization::None).map_err(|error| error.help(REMEDY))?.url().to_owned()
            }
            None => tracking.url().to_owned(),
        };
        let workspace = tracking.workspace().filter(|name| *name != DEFAULT_WORKSPACE).map(str::to_owned);
        Ok(Self { base, workspace })
    }

    /// The page of a run.
    pub fn run(&self, experiment: &str, run: &str) -> String {
        let page = format!("{}/#/experiments/{experiment}/runs/{run}", self.base);
        match &self.workspace {
            Some(name) => format!("{page}?workspace={name}"),
            None => page,
        }
    }
}

const REMEDY: &str =
    "set CEREBROS_MLFLOW_PUBLIC_URL or --mlflow-public-url to MLflow's address as people open it";

#[cfg(test)]
mod tests {
    use super::*;

    fn tracking(workspace: &str) -> Tracking {
        Tracking::new("http://me:secret@mlflow", Authorization::None)
            .unwrap()
            .in_workspace(Some(workspace))
            .unwrap()
    }

    #[test]
    fn a_run_has_a_page_of_its_own_where_people_open_mlflow() {
        let page = |workspace, public| Pages::of(&tracking(workspace), public).unwrap().run("7", "ab");
        assert_eq!(page("", None), "http://mlflow/#/experiments/7/runs/ab");
        assert_eq!(page("default", Some("https://a/ui/")), "https://a/ui/#/experiments/7/runs/ab");
        assert_eq!(page("team-a", None), "http://mlflow/#/experiments/7/runs/ab?workspace=team-a");
        let error = Pages::of(&tracking(""), Some("mlflow.example")).unwrap_err();
        assert!(error.help.is_some_and(|help| help.contains("PUBLIC_URL")));
    }
}
