//! The words a person reads first on the page of a run in MLflow, with the way back to it.

use schemas::RunId;

/// Tag MLflow shows as the description of a run, in Markdown.
pub const NOTE_TAG: &str = "mlflow.note.content";

/// The note of a run: a link to it where there is a dashboard, else the command that shows it.
pub fn note(run: &RunId, dashboard: Option<&str>) -> String {
    let shown = match dashboard {
        Some(url) => format!("[Open it in the dashboard]({}/runs/{run})", url.trim_end_matches('/')),
        None => format!("Look at it with `producer show {run}`"),
    };
    format!("Search `{run}` of Cerebros. {shown}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_leads_back_to_the_run() {
        let run = RunId::parse("r").unwrap();
        assert!(note(&run, Some("http://here:8080/")).contains("](http://here:8080/runs/r)"));
        assert!(note(&run, None).contains("`producer show r`"));
    }
}
