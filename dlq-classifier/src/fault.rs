//! Deaths at the steps of what takes several, for tests of what becomes of it. A program built for service knows none.

/// Variable that names the step a test wants the program to die at.
const DIE_AT: &str = "DLQ_TEST_DIE_AT";

/// Ends the program at once if a test wants it to die here: nothing is undone, nothing is given up.
pub(crate) fn at(step: &str) {
    if cfg!(debug_assertions) && std::env::var(DIE_AT).is_ok_and(|wanted| wanted == step) {
        std::process::abort();
    }
}
