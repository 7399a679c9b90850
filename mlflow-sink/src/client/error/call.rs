//! A call, as far as the meaning of its answer depends on it.

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Call<'a> {
    /// Path of the interface.
    pub(in crate::client) path: &'a str,
    /// Not every MLflow has it, and we can do without.
    pub(in crate::client) is_optional: bool,
    /// It can be asked for in parts, should the whole be too much.
    pub(in crate::client) is_divisible: bool,
}

impl<'a> Call<'a> {
    /// One that nothing goes without.
    pub(in crate::client) fn needed(path: &'a str) -> Self {
        Self { path, is_optional: false, is_divisible: false }
    }
}
