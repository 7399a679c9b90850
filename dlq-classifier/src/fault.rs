//! Deaths and long sleeps at the steps of what takes several, and borders where there would be none, for tests of what
//! becomes of it. A program built for service knows none of them.

/// Variable that names the step a test wants the program to die at.
const DIE_AT: &str = "DLQ_TEST_DIE_AT";
/// Variable that names the step a test wants the program to be held up at, until somebody wakes it.
const STOP_AT: &str = "DLQ_TEST_STOP_AT";
/// Variable that says how few letters a test wants to be a page.
const PAGE: &str = "DLQ_TEST_PAGE";

/// Ends the program at once if a test wants it to die here: nothing is undone, nothing is given up. Or holds it up.
pub(crate) fn at(step: &str) {
    let is_here = |variable: &str| wanted(variable).is_some_and(|wanted| wanted == step);
    if is_here(DIE_AT) {
        std::process::abort();
    }
    if is_here(STOP_AT) {
        let pid = std::process::id().to_string();
        let stopped = std::process::Command::new("kill").args(["-STOP", &pid]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "it stands still at {step}");
    }
}

/// How many letters are a page: so many, unless a test has but few.
pub(crate) fn page_or(usual: u64) -> u64 {
    wanted(PAGE).and_then(|wanted| wanted.parse().ok()).unwrap_or(usual)
}

fn wanted(variable: &str) -> Option<String> {
    cfg!(debug_assertions).then(|| std::env::var(variable).ok()).flatten()
}
