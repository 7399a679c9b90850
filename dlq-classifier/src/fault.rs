//! Deaths and long sleeps at the steps of what takes several, for tests of what becomes of it. A program built for service
//! knows none.

/// Variable that names the step a test wants the program to die at.
const DIE_AT: &str = "DLQ_TEST_DIE_AT";
/// Variable that names the step a test wants the program to be held up at, until somebody wakes it.
const STOP_AT: &str = "DLQ_TEST_STOP_AT";

/// Ends the program at once if a test wants it to die here: nothing is undone, nothing is given up. Or holds it up.
pub(crate) fn at(step: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let is_here = |variable: &str| std::env::var(variable).is_ok_and(|wanted| wanted == step);
    if is_here(DIE_AT) {
        std::process::abort();
    }
    if is_here(STOP_AT) {
        let pid = std::process::id().to_string();
        let stopped = std::process::Command::new("kill").args(["-STOP", &pid]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "it stands still at {step}");
    }
}
