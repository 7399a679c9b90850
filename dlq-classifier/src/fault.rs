//! Deaths at the steps of what takes several, and borders where there would be none, for tests of what becomes of it. A
//! program built for service knows neither.

/// Variable that names the step a test wants the program to die at.
const DIE_AT: &str = "DLQ_TEST_DIE_AT";
/// Variable that says how few letters a test wants to be a page.
const PAGE: &str = "DLQ_TEST_PAGE";

/// Ends the program at once if a test wants it to die here: nothing is undone, nothing is given up.
pub(crate) fn at(step: &str) {
    if cfg!(debug_assertions) && std::env::var(DIE_AT).is_ok_and(|wanted| wanted == step) {
        std::process::abort();
    }
}

/// How many letters are a page: so many, unless a test has but few.
pub(crate) fn page_or(usual: u64) -> u64 {
    let wanted = cfg!(debug_assertions).then(|| std::env::var(PAGE).ok()).flatten();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(usual)
}
