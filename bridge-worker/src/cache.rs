//! The result cache: what an equal trial came to a moment ago is its result.

/// Flags of the result cache.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Result cache")]
pub struct CacheArgs {
    /// Answer equal trials from what an earlier one came to
    #[arg(
        long,
        env = "CEREBROS_CACHE_ENABLED",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub cache_enabled: bool,
    /// How long a result is kept in milliseconds; 0 keeps it until others need its room
    #[arg(long, env = "CEREBROS_CACHE_TTL_MS", value_name = "MS", default_value_t = 30_000)]
    pub cache_ttl_ms: u64,
    /// Results kept at most
    #[arg(long, env = "CEREBROS_CACHE_MAX_ENTRIES", value_name = "N", default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub cache_max_entries: u32,
}
