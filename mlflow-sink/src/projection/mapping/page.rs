//! The list as a page to be read: `docs/reference/mlflow-mapping.md`.

use super::{On, ROWS};

const HEAD: &str = "<!-- Written by `cerebros schemas export --format mlflow-mapping`; changes here are overwritten. -->

# What becomes what in MLflow

A search is a parent run, each of its trials a nested run under it. Everything follows from the events alone: writing an
event twice writes the same. Names MLflow does not take are changed to legal ones that end in a hash of the original;
values over its limits are cut; both lie whole in a file of their run. [events.md](events.md) describes the events.
";

/// The list as a page to be read.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    for (on, title) in [(On::Run, "The run"), (On::Trial, "A trial")] {
        page.push_str(&format!("\n## {title}\n\n| MLflow | name | what it says |\n| --- | --- | --- |\n"));
        for row in ROWS.iter().filter(|row| row.on == on) {
            page.push_str(&format!("| {} | `{}` | {} |\n", row.kind.word(), row.name, row.says));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_what_this_build_writes() {
        let kept = std::fs::read_to_string(testkit::workspace().join("docs/reference/mlflow-mapping.md"))
            .unwrap_or_default();
        assert!(
            kept == document(),
            "run: cargo run -p cerebros -- schemas export --format mlflow-mapping > docs/reference/mlflow-mapping.md"
        );
    }
}
